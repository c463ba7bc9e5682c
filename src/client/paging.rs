//! Lists, page by page.
//!
//! A list is always asked for in pages of 500, in a total order, until it ends or the limit is reached; so no list is cut
//! silently, and none is one huge reply.

use clap::Args;

use super::error::Result;
use crate::proto::v1::{PaginationQuery, Sort};

/// The largest page that the server gives out.
const PAGE: u32 = 500;

/// The flags that every list understands.
#[derive(Debug, Clone, Default, Args)]
pub struct Paging {
    /// Largest first, newest first, Z to A
    #[arg(long)]
    pub desc: bool,
    /// Show at most this many
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
}

impl Paging {
    /// Collects the list, sorted by `sort`; `fetch` asks for one page.
    pub async fn collect<T>(
        &self,
        sort: &str,
        mut fetch: impl AsyncFnMut(PaginationQuery) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let order = if self.desc { "desc" } else { "asc" };
        let wanted = self.limit.unwrap_or(u32::MAX);
        let mut all = Vec::new();
        let mut offset = 0;
        while offset < wanted {
            let limit = PAGE.min(wanted - offset);
            let sort = Some(Sort { order: order.to_owned(), r#type: sort.to_owned() });
            let page = fetch(PaginationQuery { offset, limit, sort, query: Vec::new() }).await?;
            let last = page.len() < limit as usize;
            all.extend(page);
            if last {
                break;
            }
            offset += limit;
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn asks_until_the_end_or_the_limit() {
        // how many exist, the limit, which pages are asked for (offset, limit)
        let table = [
            (0, None, vec![(0, 500)]),
            (499, None, vec![(0, 500)]),
            (500, None, vec![(0, 500), (500, 500)]),
            (1200, None, vec![(0, 500), (500, 500), (1000, 500)]),
            (1200, Some(600), vec![(0, 500), (500, 100)]),
            (1200, Some(0), vec![]),
        ];
        for (exist, limit, pages) in table {
            let mut asked = Vec::new();
            let all = Paging { desc: false, limit }
                .collect("id", async |query: PaginationQuery| {
                    asked.push((query.offset, query.limit));
                    Ok((query.offset..exist.min(query.offset + query.limit)).collect())
                })
                .await
                .unwrap();
            assert_eq!(asked, pages, "{exist} {limit:?}");
            assert_eq!(all, (0..exist.min(limit.unwrap_or(exist))).collect::<Vec<_>>());
        }
    }
}
