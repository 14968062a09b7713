//! A relay in front of a server, which counts what passes and loses what it is told to lose.

use super::Port;
use std::{
    net::SocketAddr,
    ops::Sub,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

const BUFFER: usize = 64 << 10;

/// After how much silence a reply counts as whole.
const QUIET: Duration = Duration::from_millis(50);

/// A relay on a port of its own, which runs as tasks of the test's runtime and ends when it is dropped.
pub struct Proxy {
    port: Port,
    server: SocketAddr,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// What has passed a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that it took.
    pub connections: u64,
    /// Bytes from clients to the server.
    pub sent: u64,
    /// Bytes from the server to clients.
    pub received: u64,
    /// How often a connection's client began to send: at first, and whenever the server had spoken since.
    pub round_trips: u64,
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            connections: self.connections - earlier.connections,
            sent: self.sent - earlier.sent,
            received: self.received - earlier.received,
            round_trips: self.round_trips - earlier.round_trips,
        }
    }
}

#[derive(Default)]
struct Shared {
    counts: Mutex<Counts>,
    trap: Mutex<Option<Trap>>,
    cut: Mutex<Option<Cut>>,
    orders: watch::Sender<Orders>,
}

/// What holds for all connections.
#[derive(Clone, Copy, Default)]
struct Orders {
    /// Connections that began under an earlier number end.
    generation: u64,
    stalled: bool,
    /// Connections that began under an earlier number stay open, and nothing passes them any more.
    remembered: u64,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What clients send.
    ToServer,
    /// What they are answered.
    ToClient,
}

/// So many bytes still pass on that way; then the connection that carried the last of them ends.
struct Cut {
    way: Way,
    after: u64,
}

struct Trap {
    loss: Loss,
    /// What the request has to contain.
    of: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    Request,
    Reply,
}

impl Proxy {
    /// A relay to a server's address.
    pub async fn before(server: SocketAddr) -> Self {
        let proxy = Self { port: Port::free(), server, shared: Arc::default(), accepting: Mutex::default() };
        proxy.allow().await;
        proxy
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The server's URL, by way of this proxy.
    pub fn url_like(&self, url: &str) -> String {
        let through = url.replace(&self.server.to_string(), &self.address().to_string());
        assert_ne!(through, url, "this is no URL of the server at {}", self.server);
        through
    }

    /// What has passed so far; the difference of two says what something cost.
    pub fn counts(&self) -> Counts {
        *self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all connections that there are.
    pub fn cut(&self) {
        self.shared.orders.send_modify(|orders| orders.generation += 1);
    }

    /// Ends a connection at an exact place: so many bytes still pass on that way, over whichever connections, and the one that
    /// carries the last of them is cut behind it, in the middle of a packet or between two.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        *self.shared.cut() = Some(Cut { way, after: bytes });
    }

    /// Takes back a cut that has not come to pass; answers whether there was one.
    pub fn cut_no_more(&self) -> bool {
        self.shared.cut().take().is_some()
    }

    /// From now on nobody can connect; connections that there are stay.
    pub async fn refuse(&self) {
        let accepting = self.accepting().take();
        if let Some(accepting) = accepting {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// Who connects from now on gets through.
    pub async fn allow(&self) {
        self.refuse().await;
        let listener = TcpListener::bind(self.address()).await.expect("the port is reserved");
        let (server, shared) = (self.server, Arc::clone(&self.shared));
        let accept = async move {
            while let Ok((client, _)) = listener.accept().await {
                shared.count(|counts| counts.connections += 1);
                tokio::spawn(relay(client, server, Arc::clone(&shared)));
            }
        };
        *self.accepting() = Some(tokio::spawn(accept));
    }

    /// From now on connections are accepted and nothing comes back, nor gets through, until [`flow`](Self::flow).
    pub fn stall(&self) {
        self.shared.orders.send_modify(|orders| orders.stalled = true);
    }

    /// From now on nothing passes the connections that there are, and neither end hears of it, as behind a balancer that forgets idle
    /// ones. New connections get through.
    pub fn forget(&self) {
        self.shared.orders.send_modify(|orders| orders.remembered += 1);
    }

    /// What was held back goes on its way.
    pub fn flow(&self) {
        self.shared.orders.send_modify(|orders| orders.stalled = false);
    }

    /// The next request gets through, and its reply does not: it is swallowed and the connection cut. The server has done it, and the
    /// client cannot know.
    pub fn drop_reply_of_next_request(&self) {
        self.drop_reply_of_next_request_with("");
    }

    /// The same for the next request that contains these bytes, on whatever connection.
    pub fn drop_reply_of_next_request_with(&self, bytes: impl AsRef<[u8]>) {
        *self.shared.trap() = Some(Trap { loss: Loss::Reply, of: bytes.as_ref().to_owned() });
    }

    /// The next request does not get through, and its connection is cut. The server has not done it, and the client cannot know.
    pub fn drop_next_request(&self) {
        self.drop_next_request_with("");
    }

    /// The same for the next request that contains these bytes, on whatever connection.
    pub fn drop_next_request_with(&self, bytes: impl AsRef<[u8]>) {
        *self.shared.trap() = Some(Trap { loss: Loss::Request, of: bytes.as_ref().to_owned() });
    }

    /// Whether the request that was to be lost, or whose reply was, has come.
    pub fn has_struck(&self) -> bool {
        self.shared.trap().is_none()
    }

    fn accepting(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting().take() {
            accepting.abort();
        }
        self.cut();
    }
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn cut(&self) -> MutexGuard<'_, Option<Cut>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of these bytes pass before their connection is cut, if it is.
    fn cuts(&self, way: Way, length: usize) -> Option<usize> {
        let mut cut = self.cut();
        let left = cut.as_mut().filter(|cut| cut.way == way)?;
        if left.after > length as u64 {
            left.after -= length as u64;
            return None;
        }
        let passing = left.after as usize;
        *cut = None;
        Some(passing)
    }

    fn trap(&self) -> MutexGuard<'_, Option<Trap>> {
        self.trap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be lost of a request, if anything; a trap strikes once.
    fn strikes(&self, request: &[u8]) -> Option<Loss> {
        let hit = |trap: &mut Trap| trap.of.is_empty() || request.windows(trap.of.len()).any(|it| it == trap.of);
        self.trap().take_if(hit).map(|trap| trap.loss)
    }
}

/// Carries one connection's bytes. Returning is what cuts it.
async fn relay(mut client: TcpStream, server: SocketAddr, shared: Arc<Shared>) {
    let mut orders = shared.orders.subscribe();
    let Orders { generation, remembered, .. } = *orders.borrow();
    if orders.wait_for(|orders| !orders.stalled || orders.generation != generation).await.is_err() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut from_server) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut client_spoke_last = false;
    let mut loses_reply = false;
    loop {
        let now = *orders.borrow_and_update();
        if now.generation != generation {
            return;
        }
        let stalled = now.stalled || now.remembered != remembered;
        tokio::select! {
            biased;
            changed = orders.changed() => if changed.is_err() { return },
            read = client.read(&mut from_client), if !stalled => {
                let Ok(length @ 1..) = read else { return };
                let request = &from_client[..length];
                match shared.strikes(request) {
                    Some(Loss::Request) => return,
                    Some(Loss::Reply) => loses_reply = true,
                    None => {}
                }
                shared.count(|counts| {
                    counts.sent += length as u64;
                    counts.round_trips += u64::from(!client_spoke_last);
                });
                client_spoke_last = true;
                if let Some(passing) = shared.cuts(Way::ToServer, length) {
                    let _ = server.write_all(&request[..passing]).await;
                    return;
                }
                if server.write_all(request).await.is_err() { return }
            }
            read = server.read(&mut from_server), if !stalled => {
                let Ok(length @ 1..) = read else { return };
                if loses_reply {
                    // Some servers answer a request in parts, and leave the rest of it undone for nobody.
                    while let Ok(Ok(1..)) = timeout(QUIET, server.read(&mut from_server)).await {}
                    return;
                }
                if let Some(passing) = shared.cuts(Way::ToClient, length) {
                    // The server is told at once, by a reset, rather than when it next reads.
                    let _ = server.set_zero_linger();
                    let _ = client.write_all(&from_server[..passing]).await;
                    return;
                }
                shared.count(|counts| counts.received += length as u64);
                client_spoke_last = false;
                if client.write_all(&from_server[..length]).await.is_err() { return }
            }
        }
    }
}
