//! Asks hooks of rollouts over HTTP.
//!
//! Whoever drives rollouts awaits the answer in a task of its own: an abort never waits for a hook. Redirects are not
//! followed, because a hook is who the settings name; an answer that is one is no.
//!
//! Invariant: one hook of a rollout is asked at a time, each attempt within its time-out, at most 4 KiB
//! of an answer are held, and no text has more of an address than scheme, host and port.

use crate::config::RolloutHookSettings;
use crate::rollout::hooks::{HookAnswer, HookPayload};
use reqwest::{Client, redirect};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The wait after the first failure; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The most bytes of an answer that are read.
const LARGEST_ANSWER: usize = 4 << 10;

/// What a rollout's hooks wait on, by its id.
type Turns = BTreeMap<String, Arc<tokio::sync::Mutex<()>>>;

/// The client of all hooks.
#[derive(Debug)]
pub struct RolloutHooks {
    client: Client,
    turns: Mutex<Turns>,
}

impl RolloutHooks {
    /// A client. A TLS provider must have been installed for the process.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .build()?;
        Ok(Self { client, turns: Mutex::default() })
    }

    /// Asks a hook, again where that may help, when no other hook of the rollout is being asked.
    pub async fn ask(&self, hook: &RolloutHookSettings, payload: &HookPayload) -> HookAnswer {
        let turn = Arc::clone(self.turns().entry(payload.checksum.clone()).or_default());
        let answer = {
            let _turn = turn.lock().await;
            self.ask_until_told(hook, payload).await
        };
        drop(turn);
        // What nobody else waits on is as good as a new one.
        self.turns().retain(|_, turn| Arc::strong_count(turn) > 1);
        answer
    }

    async fn ask_until_told(&self, hook: &RolloutHookSettings, payload: &HookPayload) -> HookAnswer {
        let mut wait = FIRST_WAIT;
        for attempt in 0..hook.retries {
            let answer = self.ask_once(hook, payload).await;
            if !answer.may_pass() {
                return answer;
            }
            tracing::warn!(url = %hook.url, hook = hook.name, attempt, %answer, "a hook did not answer");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        self.ask_once(hook, payload).await
    }

    async fn ask_once(&self, hook: &RolloutHookSettings, payload: &HookPayload) -> HookAnswer {
        let request = self.client.post(hook.url.expose().clone()).json(payload);
        let asked = async {
            let mut answer = request.send().await?;
            let mut body = Vec::new();
            while body.len() < LARGEST_ANSWER {
                let Some(piece) = answer.chunk().await? else { break };
                body.extend_from_slice(&piece[..piece.len().min(LARGEST_ANSWER - body.len())]);
            }
            Ok::<_, reqwest::Error>(HookAnswer::of_status(answer.status().as_u16(), &body))
        };
        match tokio::time::timeout(hook.timeout, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => HookAnswer::Unreachable { cause: cause(error) },
            Err(_elapsed) => HookAnswer::Unreachable { cause: format!("no answer within {:?}", hook.timeout) },
        }
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no answer, without the address.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(deeper) = source {
        text = format!("{text}: {deeper}");
        source = deeper.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RolloutHookKind;
    use crate::rollout::Phase;
    use crate::rollout::test_support::{hook, view};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinSet;

    /// Somebody who answers the n-th request, from 0, with a text of his own and keeps what was sent; ends with the value.
    struct Gate {
        url: String,
        bodies: Arc<Mutex<Vec<String>>>,
        most_at_once: Arc<AtomicUsize>,
        _accepting: JoinSet<()>,
    }

    impl Gate {
        async fn start(answer: impl Fn(usize) -> Option<String> + Send + Sync + 'static) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/gate?key=sesame", listener.local_addr().unwrap());
            let (bodies, most_at_once) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
            let (kept, most) = (Arc::clone(&bodies), Arc::clone(&most_at_once));
            let mut accepting = JoinSet::new();
            accepting.spawn(async move {
                let (answer, at_once) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
                let mut connections = JoinSet::new();
                loop {
                    let (mut socket, _peer) = listener.accept().await.unwrap();
                    let (kept, most, at_once, answer) =
                        (Arc::clone(&kept), Arc::clone(&most), Arc::clone(&at_once), Arc::clone(&answer));
                    connections.spawn(async move {
                        let body = body(&mut socket).await;
                        most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        let number = {
                            let mut kept = kept.lock().unwrap();
                            kept.push(body);
                            kept.len() - 1
                        };
                        tokio::task::yield_now().await;
                        at_once.fetch_sub(1, Ordering::SeqCst);
                        match answer(number) {
                            Some(text) => drop(socket.write_all(text.as_bytes()).await),
                            // Says nothing for as long as the connection lasts.
                            None => drop(socket.read(&mut [0]).await),
                        }
                    });
                }
            });
            Self { url, bodies, most_at_once, _accepting: accepting }
        }
    }

    /// Reads a request; its body.
    async fn body(socket: &mut TcpStream) -> String {
        let mut text = String::new();
        loop {
            let mut piece = [0; 4096];
            let length = socket.read(&mut piece).await.unwrap();
            text += &String::from_utf8_lossy(&piece[..length]);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if Some(body.len()) == length {
                return body.to_owned();
            }
        }
    }

    fn says(status: &str, body: &str) -> Option<String> {
        Some(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()))
    }

    fn hooks() -> RolloutHooks {
        let _ = rustls::crypto::ring::default_provider().install_default();
        RolloutHooks::new().unwrap()
    }

    fn asks(url: &str, retries: u32) -> (RolloutHookSettings, HookPayload) {
        let hook = RolloutHookSettings { retries, ..hook(RolloutHookKind::ConfirmRollout, url) };
        let payload = HookPayload::of(&view("churn", Phase::Warming, None), &hook);
        (hook, payload)
    }

    #[tokio::test]
    async fn a_gate_that_says_no_is_asked_once_and_one_that_is_busy_again() {
        let gate = Gate::start(|_| says("403 Forbidden", "the gate is closed")).await;
        let (hook, payload) = asks(&gate.url, 2);
        let no = HookAnswer::No { status: 403, text: "the gate is closed".to_owned() };
        assert_eq!(hooks().ask(&hook, &payload).await, no);
        let sent: HookPayload = serde_json::from_str(&gate.bodies.lock().unwrap()[0]).unwrap();
        assert_eq!((sent, gate.bodies.lock().unwrap().len()), (payload, 1));

        let gate = Gate::start(|number| if number < 2 { says("503 Busy", "") } else { says("202 Accepted", "") }).await;
        let (hook, payload) = asks(&gate.url, 2);
        assert_eq!(hooks().ask(&hook, &payload).await, HookAnswer::Yes);
        assert_eq!(gate.bodies.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn who_says_nothing_or_is_not_there_is_unreachable_and_his_address_is_not_told() {
        let silent = Gate::start(|_| None).await;
        let (hook, payload) = asks(&silent.url, 0);
        let hook = RolloutHookSettings { timeout: Duration::from_millis(100), ..hook };
        let answer = hooks().ask(&hook, &payload).await;
        assert_eq!(answer, HookAnswer::Unreachable { cause: "no answer within 100ms".to_owned() });
        // A port that was free a moment ago: nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (hook, payload) = asks(&format!("http://127.0.0.1:{port}/gate?key=sesame"), 0);
        let HookAnswer::Unreachable { cause } = hooks().ask(&hook, &payload).await else { panic!() };
        assert!(!cause.contains("sesame") && cause.contains("refused"), "{cause}");
    }

    #[tokio::test]
    async fn an_endless_answer_and_a_redirect_are_no() {
        let gate = Gate::start(|_| Some("HTTP/1.1 500 No\r\n\r\n".to_owned() + &"no ".repeat(100_000))).await;
        let (hook, payload) = asks(&gate.url, 0);
        let HookAnswer::No { status: 500, text } = hooks().ask(&hook, &payload).await else { panic!() };
        assert!(text.starts_with("no no") && text.len() < LARGEST_ANSWER);
        let gate =
            Gate::start(|_| Some("HTTP/1.1 302 Found\r\nlocation: /yes\r\ncontent-length: 0\r\n\r\n".to_owned())).await;
        let (hook, payload) = asks(&gate.url, 0);
        assert!(matches!(hooks().ask(&hook, &payload).await, HookAnswer::No { status: 302, .. }));
        assert_eq!(gate.bodies.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn hooks_of_one_rollout_are_asked_one_after_the_other() {
        let gate = Gate::start(|_| says("200 OK", "")).await;
        let (hook, payload) = asks(&gate.url, 0);
        let hooks = hooks();
        let asked = futures_util::future::join_all((0..8).map(|_| hooks.ask(&hook, &payload))).await;
        assert_eq!(asked, vec![HookAnswer::Yes; 8]);
        assert_eq!(gate.most_at_once.load(Ordering::SeqCst), 1);
        assert!(hooks.turns().is_empty(), "a rollout that asks no more leaves nothing behind");
    }
}
