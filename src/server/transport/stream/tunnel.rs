//! The bytes of an upgraded connection, both ways.
//!
//! What always holds: a side that does not read stops the other one (back-pressure), with at most one buffer per way
//! between them; an idle tunnel holds no buffer at all; a side that ends its writing still gets what the other one has to
//! say; when the right to it ends, so does the tunnel, with a close frame if one may be put in where it stands.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::timeout,
};

use super::{
    frames::{self, Frames, Piece},
    input::Input,
    open::{End, Why},
    usage::Meter,
};
use crate::server::{clock::Clock, telemetry};

/// How much is moved at once.
const BUFFER: usize = 64 << 10;
/// How many buffers are kept for the next one.
const KEPT: usize = 64;
/// How long one side may go on after the other one ended.
const LINGER: Duration = Duration::from_secs(60);
/// How long a client may take to accept a close frame.
const GOODBYE: Duration = Duration::from_millis(200);

/// Buffers that tunnels take while bytes flow.
#[derive(Debug, Default)]
pub struct Pool {
    kept: Mutex<Vec<Box<[u8]>>>,
    lent: AtomicUsize,
}

/// A buffer that goes back by itself.
struct Lent<'a> {
    pool: &'a Pool,
    bytes: Box<[u8]>,
}

impl Pool {
    fn lend(&self) -> Lent<'_> {
        self.lent.fetch_add(1, Ordering::Relaxed);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Lent { pool: self, bytes: kept.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice()) }
    }

    /// How many buffers are in use.
    #[cfg(test)]
    fn lent(&self) -> usize {
        self.lent.load(Ordering::Relaxed)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pool.lent.fetch_sub(1, Ordering::Relaxed);
        let mut kept = self.pool.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// What a tunnel needs beside its two ends.
#[derive(Clone)]
pub struct Context {
    /// Where buffers come from.
    pub pool: Arc<Pool>,
    /// What counts its bytes.
    pub meter: Arc<Meter>,
    /// When something was done in it.
    pub clock: Arc<dyn Clock>,
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// One of its sides ended it.
    Side,
    /// The connection to one of its sides broke.
    Broken,
    /// The server ended it.
    Server(Why),
}

impl Ended {
    /// For the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Side => "closed",
            Self::Broken => "broken",
            Self::Server(why) => why.close().1,
        }
    }
}

/// Moves bytes between the two sides until both ended, one broke, or the end comes.
pub async fn run<C, D>(client: C, desktop: D, context: &Context, end: &End) -> Ended
where
    C: AsyncRead + AsyncWrite + Send,
    D: AsyncRead + AsyncWrite + Send,
{
    let (client_read, mut client_write) = tokio::io::split(client);
    let (desktop_read, mut desktop_write) = tokio::io::split(desktop);
    let (mut up, mut down) = (Frames::default(), Frames::default());
    let mut input = Input::default();
    let ended = {
        let sent = |bytes: &[u8]| {
            telemetry::streamed("up", bytes.len());
            let mut used = false;
            up.follow(bytes, |piece: Piece<'_>| used |= input.look(piece));
            if used {
                context.meter.input(context.clock.now());
                end.put_off();
            }
        };
        let received = |bytes: &[u8]| {
            telemetry::streamed("down", bytes.len());
            down.follow(bytes, |_| ());
        };
        let up = pin_box(one_way(client_read, &mut desktop_write, context, sent));
        let down = pin_box(one_way(desktop_read, &mut client_write, context, received));
        tokio::select! {
            ended = both(up, down) => ended,
            why = end.comes() => Ended::Server(why),
        }
    };
    if let Ended::Server(why) = ended
        && down.at_boundary()
    {
        let (code, reason) = why.close();
        // whoever does not read gets no goodbye
        let _ = timeout(GOODBYE, client_write.write_all(&frames::close(code, reason))).await;
    }
    let _ = timeout(GOODBYE, client_write.shutdown()).await;
    ended
}

type Way<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

fn pin_box<'a>(way: impl Future<Output = io::Result<()>> + Send + 'a) -> Way<'a> {
    Box::pin(way)
}

/// Waits until both ways ended. The second one has a while to finish.
async fn both(mut up: Way<'_>, mut down: Way<'_>) -> Ended {
    let (first, rest) = tokio::select! {
        first = &mut up => (first, down),
        first = &mut down => (first, up),
    };
    if first.is_err() {
        return Ended::Broken;
    }
    match timeout(LINGER, rest).await {
        Ok(Ok(())) => Ended::Side,
        Ok(Err(_)) | Err(_) => Ended::Broken,
    }
}

/// Moves bytes one way until the source ends, and then tells the sink. `moved` sees what the sink has taken.
async fn one_way(
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
    context: &Context,
    mut moved: impl FnMut(&[u8]),
) -> io::Result<()> {
    loop {
        let (buffer, count) = read(&mut from, &context.pool).await?;
        write(to, &buffer.bytes[..count], &context.meter, &mut moved).await?;
        drop(buffer);
        if count == 0 {
            return to.shutdown().await;
        }
    }
}

/// Reads what there is. While there is nothing it holds no buffer.
async fn read<'a>(from: &mut (impl AsyncRead + Unpin), pool: &'a Pool) -> io::Result<(Lent<'a>, usize)> {
    poll_fn(|cx| {
        let mut buffer = pool.lend();
        let mut into = ReadBuf::new(&mut buffer.bytes);
        let polled = Pin::new(&mut *from).poll_read(cx, &mut into);
        let count = into.filled().len();
        polled.map_ok(|()| (buffer, count))
    })
    .await
}

async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    meter: &Meter,
    moved: &mut impl FnMut(&[u8]),
) -> io::Result<()> {
    while !bytes.is_empty() {
        // a part that was written is seen even if this is dropped before the next one
        let count = to.write(bytes).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let (written, rest) = bytes.split_at(count);
        moved(written);
        meter.bytes(count);
        bytes = rest;
    }
    to.flush().await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::{super::frames::tests::frame, *};
    use crate::server::clock::ManualClock;

    fn context() -> Context {
        let now = "2026-03-01T08:00:00Z".parse().unwrap();
        Context { pool: Arc::default(), meter: Arc::default(), clock: Arc::new(ManualClock::new(now)) }
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_close_lets_the_other_half_finish() {
        let ((mut client, near), (far, mut desktop)) = (duplex(8), duplex(8));
        let running = tokio::spawn(async move { run(near, far, &context(), &End::default()).await });
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut asked = Vec::new();
        desktop.read_to_end(&mut asked).await.unwrap();
        assert_eq!(asked, b"question");
        tokio::time::sleep(LINGER / 2).await;
        let said = vec![7; 1000];
        let (mut got, answer) = (Vec::new(), said.clone());
        tokio::join!(
            async {
                desktop.write_all(&answer).await.unwrap();
                desktop.shutdown().await.unwrap();
            },
            async { assert_eq!(client.read_to_end(&mut got).await.unwrap(), 1000) },
        );
        assert!(got == said);
        assert_eq!(running.await.unwrap(), Ended::Side);
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_never_finishes_is_given_up() {
        let ((mut client, near), (far, _desktop)) = (duplex(8), duplex(8));
        let running = tokio::spawn(async move { run(near, far, &context(), &End::default()).await });
        client.shutdown().await.unwrap();
        assert_eq!(running.await.unwrap(), Ended::Broken);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_said_between_frames_and_nowhere_else() {
        let whole = frame(2, true, None, b"abc");
        for (sent, goodbye) in [(&whole[..], true), (&whole[..3], false)] {
            let ((mut client, near), (far, mut desktop)) = (duplex(4096), duplex(4096));
            let end = Arc::new(End::default());
            let ended = end.clone();
            let running = tokio::spawn(async move { run(near, far, &context(), &ended).await });
            desktop.write_all(sent).await.unwrap();
            let mut got = vec![0; sent.len()];
            client.read_exact(&mut got).await.unwrap();
            end.come_for_tests(Why::Desktop);
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, if goodbye { frames::close(1001, "WORKBENCH_STOPPED") } else { Vec::new() });
            assert_eq!(running.await.unwrap(), Ended::Server(Why::Desktop));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_tunnel_holds_no_buffer_and_a_slow_reader_one() {
        let context = context();
        let ((_client, near), (far, mut desktop)) = (duplex(16), duplex(1 << 20));
        let mine = context.clone();
        let running = tokio::spawn(async move { run(near, far, &mine, &End::default()).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(context.pool.lent(), 0);
        desktop.write_all(&vec![7; 1 << 20]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(context.pool.lent(), 1);
        assert!(timeout(Duration::from_secs(1), desktop.write_all(&vec![7; 1 << 20])).await.is_err(), "it waits");
        running.abort();
    }

    #[tokio::test]
    async fn keys_are_noticed_and_bytes_are_counted() {
        let context = context();
        let ((mut client, near), (far, mut desktop)) = (duplex(4096), duplex(4096));
        let mine = context.clone();
        let running = tokio::spawn(async move { run(near, far, &mine, &End::default()).await });
        let key = frame(2, true, Some([1, 2, 3, 4]), b"P\0\0\0\0\0\0\x0fl10:key-actione");
        client.write_all(&key).await.unwrap();
        let mut got = vec![0; key.len()];
        desktop.read_exact(&mut got).await.unwrap();
        assert_eq!(got, key);
        drop(client);
        drop(desktop);
        running.await.unwrap();
        let counted = context.meter.counted_for_tests();
        assert_eq!(counted, (key.len() as i64, context.clock.now().timestamp_micros()));
    }
}
