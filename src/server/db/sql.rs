//! Building and running statements.
//!
//! A statement is literal text with `$1`, `$2` … and as many bound values. Parts are appended with their values, so a text and
//! its numbers cannot drift apart. Text is `&'static str`: nothing a caller sends can become SQL.
//!
//! Stay in what both engines share: `RETURNING`, `ON CONFLICT`, window functions, CTEs, `->>`, `coalesce`, `CASE`. A
//! statement that begins with `SELECT` runs on a reader, anything else (`WITH` too) on the writer.

use std::borrow::Cow;

use sqlx::{
    Arguments, AssertSqlSafe, Encode, FromRow, Postgres, Sqlite, Type,
    error::BoxDynError,
    postgres::{PgArguments, PgRow},
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{Db, DbError, Listed, Page, Result, Tx, engine::Pools, fold, page::Counted, tx::Inner};

/// A row that both engines can fill: `#[derive(sqlx::FromRow)]` gives it, and so does a tuple.
pub trait Record: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin> Record for T {}

/// A value that both engines can store: text, numbers (`i64`), booleans, bytes, times, [`Json`](super::Json), options of them.
pub trait Bind: Send + Sync {
    /// Appends the value to the arguments for SQLite.
    fn sqlite(&self, to: &mut SqliteArguments) -> Result<(), BoxDynError>;
    /// Appends the value to the arguments for PostgreSQL.
    fn postgres(&self, to: &mut PgArguments) -> Result<(), BoxDynError>;
}

impl<T> Bind for T
where
    T: Send + Sync + for<'q> Encode<'q, Sqlite> + Type<Sqlite> + for<'q> Encode<'q, Postgres> + Type<Postgres>,
{
    fn sqlite(&self, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
        to.add(self)
    }

    fn postgres(&self, to: &mut PgArguments) -> Result<(), BoxDynError> {
        to.add(self)
    }
}

/// Where a statement runs: `&Db` or `&mut Tx`. Store functions take `impl Into<On<'_>>`.
pub enum On<'a> {
    /// On its own.
    Db(&'a Db),
    /// As a part of a transaction.
    Tx(&'a mut Tx),
}

impl On<'_> {
    /// The same place for one more statement.
    pub fn again(&mut self) -> On<'_> {
        match self {
            Self::Db(db) => On::Db(db),
            Self::Tx(tx) => On::Tx(tx),
        }
    }
}

impl<'a> From<&'a Db> for On<'a> {
    fn from(db: &'a Db) -> Self {
        Self::Db(db)
    }
}

impl<'a> From<&'a mut Tx> for On<'a> {
    fn from(tx: &'a mut Tx) -> Self {
        Self::Tx(tx)
    }
}

/// Runs `$query` with the text, arguments and connection of the engine. A macro, since the types differ in each arm.
macro_rules! run {
    ($sql:expr, $on:expr, ($text:ident, $args:ident, $to:ident) => $query:expr) => {{
        let sql = &$sql;
        // made of literal parts and $n only, see `Sql::push` and `Sql::arg`
        let $text = AssertSqlSafe(sql.text.as_ref().to_owned());
        match $on {
            On::Db(Db(Pools::Sqlite { read, write })) => {
                let ($args, $to) = (sql.to_sqlite()?, if sql.is_read() { read } else { write });
                $query.await.map_err(DbError::from)
            }
            On::Db(Db(Pools::Postgres($to))) => {
                let $args = sql.to_postgres()?;
                $query.await.map_err(DbError::from)
            }
            On::Tx(tx) => {
                let done = match &mut tx.inner {
                    Inner::Sqlite(tx) => {
                        let ($args, $to) = (sql.to_sqlite()?, &mut **tx);
                        $query.await
                    }
                    Inner::Postgres(tx) => {
                        let ($args, $to) = (sql.to_postgres()?, &mut **tx);
                        $query.await
                    }
                };
                tx.note(done)
            }
        }
    }};
}

/// A statement under construction.
#[must_use = "a statement does nothing until it is run"]
pub struct Sql<'a> {
    text: Cow<'static, str>,
    args: Vec<Box<dyn Bind + 'a>>,
}

/// Begins a statement.
pub fn sql<'a>(text: &'static str) -> Sql<'a> {
    Sql { text: Cow::Borrowed(text), args: Vec::new() }
}

impl<'a> Sql<'a> {
    /// Binds the next `$n` that the text already has.
    pub fn bind(mut self, value: impl Bind + 'a) -> Self {
        self.args.push(Box::new(value));
        self
    }

    /// Appends text.
    pub fn push(mut self, text: &'static str) -> Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Appends the next `$n` and binds it.
    pub fn arg(mut self, value: impl Bind + 'a) -> Self {
        self.args.push(Box::new(value));
        let number = self.args.len();
        self.text.to_mut().push_str(&format!("${number}"));
        self
    }

    /// Appends ` AND {text} $n` when there is a value: `.and("created_at >=", since)`.
    pub fn and(self, text: &'static str, value: Option<impl Bind + 'a>) -> Self {
        match value {
            Some(value) => self.push(" AND ").push(text).push(" ").arg(value),
            None => self,
        }
    }

    /// Appends ` AND {column} IN (…)` when there is a list. An empty list matches nothing; `None` matches everything. So a
    /// filter of a request, where empty means absent, says so: `.and_in("id", (!ids.is_empty()).then_some(ids))`.
    pub fn and_in<T: Bind + 'a>(self, column: &'static str, values: Option<impl IntoIterator<Item = T>>) -> Self {
        let Some(values) = values else { return self };
        let mut values = values.into_iter();
        let Some(first) = values.next() else { return self.push(" AND 1 = 0") };
        let list = self.push(" AND ").push(column).push(" IN (").arg(first);
        values.fold(list, |list, value| list.push(", ").arg(value)).push(")")
    }

    /// Appends a search for this text within a folded column (`*_key`), when there is one.
    pub fn and_contains(self, column: &'static str, text: Option<&str>) -> Self {
        match text {
            Some(text) => {
                self.push(" AND ").push(column).push(" LIKE ").arg(fold::containing(text)).push(r" ESCAPE '\'")
            }
            None => self,
        }
    }

    /// Appends `ORDER BY`, with the id as tie-breaker, and the limits of the page. [`Sql::list`] does it with the total.
    pub fn page(self, page: &Page) -> Self {
        let direction = if page.descending { " DESC" } else { " ASC" };
        let ordered = self.push(" ORDER BY ").push(page.column).push(direction);
        let ordered = if page.column == "id" { ordered } else { ordered.push(", id").push(direction) };
        ordered.push(" LIMIT ").arg(i64::from(page.limit)).push(" OFFSET ").arg(i64::from(page.offset))
    }

    /// One page of what this `SELECT` (without order and limit) finds, with the number of all rows.
    ///
    /// The sort column and `id` are columns of its result. One statement; a page beyond the end counts with a second one.
    pub async fn list<T: Record>(self, on: impl Into<On<'_>>, page: &Page) -> Result<Listed<T>> {
        let mut on = on.into();
        let (inner, inner_args) = (self.text, self.args.len());
        let text = format!("SELECT page.*, count(*) OVER () AS total_rows FROM ({inner}) AS page");
        let mut statement = Sql { text: text.into(), args: self.args }.page(page);
        let rows: Vec<Counted<T>> = statement.fetch(on.again()).await?;
        let total = match rows.first() {
            Some(row) => row.total,
            None if page.offset == 0 => 0,
            None => {
                statement.args.truncate(inner_args);
                let count =
                    Sql { text: format!("SELECT count(*) FROM ({inner}) AS page").into(), args: statement.args };
                let (total,): (i64,) = count.one(on).await?;
                total
            }
        };
        let total = u64::try_from(total).unwrap_or_default();
        let rows: Vec<T> = rows.into_iter().map(|counted| counted.row).collect();
        Ok(Listed { truncated: page.unpaged && (rows.len() as u64) < total, rows, total })
    }

    /// The one row. None is a fault: use [`Sql::maybe`] where it may be missing.
    pub async fn one<T: Record>(self, on: impl Into<On<'_>>) -> Result<T> {
        self.maybe(on).await?.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    /// The first row, if there is one.
    pub async fn maybe<T: Record>(self, on: impl Into<On<'_>>) -> Result<Option<T>> {
        run!(self, on.into(), (text, args, to) => sqlx::query_as_with(text, args).fetch_optional(to))
    }

    /// All rows.
    pub async fn all<T: Record>(self, on: impl Into<On<'_>>) -> Result<Vec<T>> {
        self.fetch(on.into()).await
    }

    /// The number of rows that were changed.
    pub async fn run(self, on: impl Into<On<'_>>) -> Result<u64> {
        run!(self, on.into(), (text, args, to) => async {
            Ok::<_, sqlx::Error>(sqlx::query_with(text, args).execute(to).await?.rows_affected())
        })
    }

    async fn fetch<T: Record>(&self, on: On<'_>) -> Result<Vec<T>> {
        run!(self, on, (text, args, to) => sqlx::query_as_with(text, args).fetch_all(to))
    }

    fn to_sqlite(&self) -> sqlx::Result<SqliteArguments> {
        let mut to = SqliteArguments::default();
        self.args.iter().try_for_each(|arg| arg.sqlite(&mut to)).map_err(sqlx::Error::Encode)?;
        Ok(to)
    }

    fn to_postgres(&self) -> sqlx::Result<PgArguments> {
        let mut to = PgArguments::default();
        self.args.iter().try_for_each(|arg| arg.postgres(&mut to)).map_err(sqlx::Error::Encode)?;
        Ok(to)
    }

    fn is_read(&self) -> bool {
        self.text.trim_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("SELECT"))
    }
}
