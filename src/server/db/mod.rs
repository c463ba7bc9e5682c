//! The database: one SQL text for SQLite and PostgreSQL.
//!
//! ```text
//! services/<noun>/store.rs ── sql("… $1 …").bind(v).one(&db | &mut tx) ──► engine ──► SQLite (WAL: 1 writer, n readers)
//!                                                                                └──► PostgreSQL (one pool)
//! ```
//!
//! - [`sql()`] builds statements; only literal text becomes SQL, every value is bound.
//! - [`Tx`] is a transaction; [`Db::transaction`] opens one.
//! - [`page`] checks what a list request asks for, and [`Sql::list`] reads that page with its total.
//! - [`lease`], [`fold()`] and the migrations (`migrations/*.sql`, [`Db::migrate`]) complete it.
//!
//! What always holds: what differs between the engines is decided in this folder and nowhere else; an abandoned future leaves
//! no open transaction behind, since a dropped [`Tx`] rolls back; on SQLite a commit is on the disk when it returns.

mod engine;
mod error;
mod fold;
pub mod lease;
mod migrate;
pub mod page;
mod settled;
mod sql;
mod tx;

pub use engine::{Db, Engine, Options, PoolStats};
pub use error::{DbError, Result};
pub use fold::{fold, is_invisible};
pub use migrate::Pending;
pub use page::{Listed, Page, PageQuery, Sortable};
pub use sql::{Bind, On, Record, Sql, sql};
pub use sqlx::{FromRow, types::Json};
pub use tx::Tx;
