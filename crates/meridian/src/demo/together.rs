//! Waits for several things at a time.

use std::task::Poll;

/// The outcomes in the order of the futures, or the first failure in that order. All run to their end.
pub(crate) async fn together<T>(
    futures: impl IntoIterator<Item = impl Future<Output = anyhow::Result<T>>>,
) -> anyhow::Result<Vec<T>> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| Some(Box::pin(future))).collect();
    let mut outcomes: Vec<Option<anyhow::Result<T>>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, outcome) in waiting.iter_mut().zip(&mut outcomes) {
            let polled = future.as_mut().map(|future| future.as_mut().poll(context));
            if let Some(Poll::Ready(ready)) = polled {
                *outcome = Some(ready);
                *future = None;
            }
        }
        if waiting.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outcomes.into_iter().flatten().collect()
}
