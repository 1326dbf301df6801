//! Several futures at once.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

/// Waits for several futures at once and gives all their outputs, as a tuple.
///
/// ```
/// # use embly_sdk as embly;
/// # embly::block_on(async {
/// let (a, b) = embly::join!(async { 1 }, async { "two" });
/// assert_eq!((a, b), (1, "two"));
/// # });
/// ```
#[macro_export]
macro_rules! join {
    ($($future:expr),+ $(,)?) => {
        $crate::Join::join(($($future,)+)).await
    };
}

/// A tuple of one to eight futures; what [`join!`](crate::join!) works on.
pub trait Join {
    /// The outputs, as a tuple.
    type Output;

    /// Waits for all of them at once.
    fn join(self) -> impl Future<Output = Self::Output>;
}

/// Waits for any number of futures of one kind at once; the outputs are in the order of the futures.
///
/// ```
/// # use embly_sdk as embly;
/// # embly::block_on(async {
/// let squares = embly::join_all((1..4).map(|n| async move { n * n })).await;
/// assert_eq!(squares, [1, 4, 9]);
/// # });
/// ```
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = futures.into_iter().map(Member::new).collect();
    poll_fn(|cx| ready(all.iter_mut().fold(true, |done, it| it.poll(cx) & done))).await;
    all.into_iter().map(Member::output).collect()
}

fn ready(done: bool) -> Poll<()> {
    if done { Poll::Ready(()) } else { Poll::Pending }
}

/// A future that is kept with its output until all are done.
enum Member<F: Future> {
    Running(Pin<Box<F>>),
    Done(F::Output),
}

impl<F: Future> Member<F> {
    fn new(future: F) -> Self {
        Self::Running(Box::pin(future))
    }

    /// Polls it if it still runs; whether it is done.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if let Self::Running(future) = self {
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => *self = Self::Done(output),
                Poll::Pending => return false,
            }
        }
        true
    }

    fn output(self) -> F::Output {
        match self {
            Self::Done(output) => output,
            Self::Running(_) => unreachable!("a join is over when all are done"),
        }
    }
}

macro_rules! tuples {
    ($($($name:ident)+;)+) => {$(
        impl<$($name: Future),+> Join for ($($name,)+) {
            type Output = ($($name::Output,)+);

            #[allow(non_snake_case)] // One name for the type and the value.
            async fn join(self) -> Self::Output {
                let ($($name,)+) = self;
                $(let mut $name = Member::new($name);)+
                poll_fn(|cx| ready($($name.poll(cx) &)+ true)).await;
                ($($name.output(),)+)
            }
        }
    )+};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}
