//! What concerns many records at once, in bounded steps, so that no step outlasts its limit and others come in between.

use super::{StoreError, sweeping::AT_ONCE};
use crate::record::{Header, Selector};

/// Some of an owner's sessions in the order of their selectors, and after which one the next page begins, if there may be one.
pub(super) struct Page {
    pub(super) found: Vec<(Selector, Header)>,
    pub(super) next: Option<Selector>,
}

/// Reads pages of so many sessions after a selector until there are no more.
///
/// The pages are no snapshot, but a session that is there throughout is in one of them, and in no second one: its selector never
/// changes.
pub(super) async fn in_pages<F, Fut>(read: F) -> Result<Vec<(Selector, Header)>, StoreError>
where
    F: Fn(Option<Selector>, usize) -> Fut,
    Fut: Future<Output = Result<Page, StoreError>>,
{
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = read(after, AT_ONCE).await?;
        found.extend(page.found);
        if page.next.is_none() {
            return Ok(found);
        }
        after = page.next;
        // A page is work for this thread too, which may have other things to do.
        tokio::task::yield_now().await;
    }
}

/// Calls `remove` with the size of a batch until it removes less than that, or until `limit` records are removed in all.
///
/// An error ends it. What is removed stays removed, so a repeated call goes on where this one ended.
///
/// # Errors
/// That of `remove`. After the first batch it is [`StoreError::OutcomeUnknown`], since then something has happened.
pub(super) async fn in_batches<F, Fut>(limit: usize, remove: F) -> Result<usize, StoreError>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Result<usize, StoreError>>,
{
    let mut removed = 0;
    loop {
        let batch = AT_ONCE.min(limit.saturating_sub(removed));
        match remove(batch).await {
            Ok(count) => {
                removed += count;
                if count < batch || removed >= limit {
                    return Ok(removed);
                }
            }
            Err(error) => return Err(error.after(removed as u64)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    /// Removes from so many records, and notes the size of each batch; fails once that many batches are done.
    async fn remove(records: usize, limit: usize, good: usize) -> (Result<usize, StoreError>, Vec<usize>) {
        let (left, batches) = (Cell::new(records), RefCell::new(Vec::new()));
        let outcome = in_batches(limit, async |batch| {
            if batches.borrow().len() == good {
                return Err(StoreError::unavailable("no"));
            }
            batches.borrow_mut().push(batch);
            let count = left.get().min(batch);
            left.set(left.get() - count);
            Ok(count)
        });
        (outcome.await, batches.into_inner())
    }

    #[tokio::test]
    async fn batches_end_with_one_that_is_not_full_or_with_the_limit() {
        for (records, limit, removed, batches) in [
            (0, usize::MAX, 0, vec![AT_ONCE]),
            (AT_ONCE * 2 + 1, usize::MAX, AT_ONCE * 2 + 1, vec![AT_ONCE; 3]),
            (AT_ONCE, usize::MAX, AT_ONCE, vec![AT_ONCE; 2]),
            (AT_ONCE * 2, AT_ONCE + 7, AT_ONCE + 7, vec![AT_ONCE, 7]),
            (5, 5, 5, vec![5]),
            (5, 0, 0, vec![0]),
        ] {
            let (outcome, made) = remove(records, limit, usize::MAX).await;
            assert_eq!((outcome.unwrap(), made), (removed, batches), "{records} records, at most {limit}");
        }
    }

    #[tokio::test]
    async fn an_error_after_the_first_batch_says_that_something_has_happened() {
        assert!(matches!(remove(AT_ONCE * 3, usize::MAX, 0).await.0, Err(StoreError::Unavailable(_))));
        let error = remove(AT_ONCE * 3, usize::MAX, 2).await.0.unwrap_err();
        assert!(matches!(error, StoreError::OutcomeUnknown(_)));
        assert!(error.to_string().contains(&format!("{} sessions were removed", AT_ONCE * 2)), "{error}");
    }
}
