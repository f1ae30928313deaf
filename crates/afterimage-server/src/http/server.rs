//! The thread that listens: a runtime of its own, so that a program without one needs none, and bounds on what strangers can
//! take of it.

use super::access::Access;
use super::router::router_for;
use crate::live::{Source, Watch};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// Connections at a time; others wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may ask for nothing, or not take what it asked for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long answers under way may take once the server is to stop.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A server of the page, on a thread of its own. Dropped, it stops; so does its watching.
pub struct Server {
    address: SocketAddr,
    watch: Arc<Watch>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at `address` (port 0 is any free one) and begins to watch `source`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an address that is not loopback, without a token; what the operating system says.
    pub fn start(source: Source, address: SocketAddr, access: Access) -> io::Result<Server> {
        if !address.ip().is_loopback() && !access.has_token() {
            let what = "an address that others can reach needs a token";
            return Err(io::Error::new(ErrorKind::InvalidInput, what));
        }
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let watch = Arc::new(Watch::start(source)?);
        let (stop, stopped) = oneshot::channel();
        let seen = Arc::clone(&watch);
        let work = move || {
            runtime.block_on(serve(listener, seen, access, stopped));
            // Whoever waits for a disk that does not answer is not waited for.
            runtime.shutdown_timeout(LAST_ANSWERS);
        };
        let thread = std::thread::Builder::new()
            .name("afterimage-http".to_owned())
            .spawn(work)?;
        Ok(Server {
            address,
            watch,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it watches.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // If it has gone already, there is nobody to tell.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic in there has been told; there is nothing of ours that it could have spoilt.
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    watch: Arc<Watch>,
    access: Access,
    stopped: oneshot::Receiver<()>,
) {
    // It is a socket that listens already, made non-blocking: nothing is left to go wrong but a runtime without a reactor.
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let listener = Bounded {
        listener,
        free: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
    };
    let (end, ending) = oneshot::channel::<()>();
    let graceful = async move {
        let _ = ending.await;
    };
    // Where it listens on loopback, whoever asks is on this machine; elsewhere there is a token.
    let from = listener
        .listener
        .local_addr()
        .ok()
        .map(|address| address.ip());
    let router = router_for(watch, access, from);
    let serving = axum::serve(listener, router).with_graceful_shutdown(graceful);
    let serving = tokio::spawn(async move { serving.await });
    let _ = stopped.await;
    drop(end);
    // Whoever still reads slowly then is cut off with the runtime.
    let _ = timeout(LAST_ANSWERS, serving).await;
}

/// Accepts no more connections than there are permits.
struct Bounded {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl axum::serve::Listener for Bounded {
    type Io = Patient;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Patient, SocketAddr) {
        loop {
            let permit = Arc::clone(&self.free).acquire_owned().await;
            match (permit, self.listener.accept().await) {
                (Ok(permit), Ok((stream, address))) => {
                    return (Patient::new(stream, permit), address);
                }
                // A connection that has gone again, or no file descriptor is free: a moment later it may be otherwise.
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that is given up when nothing is answered on it: neither a stranger who says nothing nor one who says a byte now
/// and then keeps a place for long.
struct Patient {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Patient {
    fn new(stream: TcpStream, permit: OwnedSemaphorePermit) -> Patient {
        Patient {
            stream,
            deadline: Box::pin(sleep(PATIENCE)),
            _permit: permit,
        }
    }

    /// Nothing moved: is it over?
    fn waited<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() && self.deadline.deadline() > Instant::now() {
            return polled;
        }
        let over = self.deadline.as_mut().poll(context);
        over.map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.waited(context, polled)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if polled.is_ready() {
            // The time begins again.
            self.deadline.as_mut().reset(Instant::now() + PATIENCE);
        }
        self.waited(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
