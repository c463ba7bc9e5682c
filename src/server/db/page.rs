//! Pages of lists: what a request may ask for, the order it gets, and the rows with their total.
//!
//! The order is always total: the id decides between equal rows, so that pages neither overlap nor leave a gap. Rules: 20 rows
//! unless stated, at most 500; a request without any parameter gets up to 1,000 rows, since the web client relies on it, and
//! the answer tells when that cut something off.

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use crate::{
    proto::v1::{PaginationQuery, PaginationResult, Sort},
    server::error::{Error, Result},
};

/// Rows of a page when the request does not state it.
pub const DEFAULT_LIMIT: u32 = 20;
/// The most rows that a request may state.
pub const MAX_LIMIT: u32 = 500;
/// Rows of a list that was requested without any parameter.
pub const UNPAGED_LIMIT: u32 = 1000;

/// A sort name of the wire and the column of the result it stands for.
pub type Sortable = (&'static str, &'static str);

/// The page that a request asks for; empty and zero mean: not stated.
#[derive(Debug, Clone, Copy, Default)]
pub struct PageQuery<'a> {
    /// How many rows to leave out.
    pub offset: u32,
    /// How many rows to return.
    pub limit: u32,
    /// The name of the field to sort by.
    pub sort: &'a str,
    /// `asc` or `desc`.
    pub order: &'a str,
}

/// A page that may be read: every part is checked, the columns are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many rows to leave out.
    pub offset: u32,
    /// The most rows to return.
    pub limit: u32,
    /// The sort name of the wire, as declared.
    pub sort: &'static str,
    /// The column of the result to sort by.
    pub column: &'static str,
    /// From the largest to the smallest.
    pub descending: bool,
    /// The request stated nothing about pages.
    pub unpaged: bool,
}

/// The rows of one page, and how many there are on all pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The rows, in order.
    pub rows: Vec<T>,
    /// The number of rows on all pages.
    pub total: u64,
    /// An unpaged request got less than everything.
    pub truncated: bool,
}

impl Page {
    /// What the reply says about this page of a list.
    pub fn reply(&self, total: u64) -> PaginationResult {
        let order = if self.descending { "desc" } else { "asc" };
        PaginationResult {
            total: u32::try_from(total).unwrap_or(u32::MAX),
            offset: self.offset,
            limit: self.limit,
            sort: Some(Sort { order: order.to_owned(), r#type: self.sort.to_owned() }),
        }
    }
}

impl<'a> PageQuery<'a> {
    /// The page that the message of a request asks for; none asks for nothing in particular.
    ///
    /// # Errors
    /// Those of [`PageQuery::check`].
    pub fn parse(query: Option<&'a PaginationQuery>, allowed: &[Sortable]) -> Result<Page> {
        query.map(Self::from).unwrap_or_default().check(allowed)
    }

    /// Checks the request against the sortable fields of a list, of which the first is the default order.
    ///
    /// # Errors
    /// `UNKNOWN_SORT` or `UNKNOWN_ORDER` naming what is allowed, or the rule that `pagination.limit` breaks.
    pub fn check(self, allowed: &[Sortable]) -> Result<Page> {
        let unpaged = self.offset == 0 && self.limit == 0 && self.sort.is_empty() && self.order.is_empty();
        let &(sort, column) = if self.sort.is_empty() {
            allowed.first().unwrap_or(&("id", "id"))
        } else {
            allowed
                .iter()
                .find(|(wire, _)| wire.eq_ignore_ascii_case(self.sort))
                .ok_or_else(|| unknown_sort(allowed))?
        };
        let descending = match self.order {
            "" => false,
            order if order.eq_ignore_ascii_case("asc") => false,
            order if order.eq_ignore_ascii_case("desc") => true,
            _ => return Err(Error::invalid("UNKNOWN_ORDER", "pagination.sort.order must be asc or desc.")),
        };
        let limit = match self.limit {
            0 if unpaged => UNPAGED_LIMIT,
            0 => DEFAULT_LIMIT,
            limit if limit <= MAX_LIMIT => limit,
            _ => {
                let message = format!("pagination.limit is at most {MAX_LIMIT}. Read the rest as further pages.");
                return Err(Error::field("pagination.limit", "lte", message));
            }
        };
        Ok(Page { offset: self.offset, limit, sort, column, descending, unpaged })
    }
}

impl<'a> From<&'a PaginationQuery> for PageQuery<'a> {
    fn from(query: &'a PaginationQuery) -> Self {
        let (sort, order) = query.sort.as_ref().map_or(("", ""), |sort| (sort.r#type.as_str(), sort.order.as_str()));
        Self { offset: query.offset, limit: query.limit, sort, order }
    }
}

/// Does not repeat what was sent: it may be anything.
fn unknown_sort(allowed: &[Sortable]) -> Error {
    let names: Vec<_> = allowed.iter().map(|(wire, _)| *wire).collect();
    Error::invalid("UNKNOWN_SORT", format!("pagination.sort.type must be one of {}.", names.join(", ")))
}

/// A row that carries the number of all rows in its column `total_rows`.
pub(super) struct Counted<T> {
    pub row: T,
    pub total: i64,
}

impl<'r, R, T> FromRow<'r, R> for Counted<T>
where
    R: Row,
    T: FromRow<'r, R>,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        Ok(Self { total: row.try_get("total_rows")?, row: T::from_row(row)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::error::Kind;

    const FIELDS: &[Sortable] = &[("createdAt", "created_at"), ("name", "name_key")];

    fn page(offset: u32, limit: u32, sort: &str, order: &str) -> Result<(u32, u32, &'static str, bool, bool)> {
        let page = PageQuery { offset, limit, sort, order }.check(FIELDS)?;
        Ok((page.offset, page.limit, page.column, page.descending, page.unpaged))
    }

    #[test]
    fn pages() {
        for (asked, given) in [
            ((0, 0, "", ""), (0, 1000, "created_at", false, true)),
            ((0, 0, "name", ""), (0, 20, "name_key", false, false)),
            ((0, 0, "", "DESC"), (0, 20, "created_at", true, false)),
            ((5, 0, "", ""), (5, 20, "created_at", false, false)),
            ((0, 500, "NAME", "Asc"), (0, 500, "name_key", false, false)),
            ((7, 1, "createdat", "desc"), (7, 1, "created_at", true, false)),
        ] {
            assert_eq!(page(asked.0, asked.1, asked.2, asked.3).unwrap(), given, "{asked:?}");
        }
    }

    #[test]
    fn messages() {
        assert!(PageQuery::parse(None, FIELDS).unwrap().unpaged);
        let sort = Some(Sort { r#type: "NAME".into(), order: "desc".into() });
        let page = PageQuery::parse(Some(&PaginationQuery { offset: 3, sort, ..Default::default() }), FIELDS).unwrap();
        let reply = page.reply(7);
        assert_eq!((reply.total, reply.offset, reply.limit), (7, 3, 20));
        assert_eq!(reply.sort, Some(Sort { r#type: "name".into(), order: "desc".into() }));
    }

    #[test]
    fn refusals() {
        let sort = page(0, 0, "password_hash", "").unwrap_err();
        assert_eq!((sort.kind(), sort.reason()), (Kind::InvalidRequest, "UNKNOWN_SORT"));
        assert_eq!(sort.message(), "pagination.sort.type must be one of createdAt, name.");
        assert_eq!(page(0, 0, "", "up").unwrap_err().reason(), "UNKNOWN_ORDER");
        assert_eq!(page(0, 501, "", "").unwrap_err().kind(), Kind::Validation);
    }
}
