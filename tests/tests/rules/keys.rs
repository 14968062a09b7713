//! Keys of sealed cookies that come and go: which one seals, which ones open, and a fleet that replaces one.

use base64ct::{Base64UrlUnpadded, Encoding};
use cloakroom::{KeyRing, store::CookieStore, testing::ManualClock};
use cloakroom_tests::{
    events::Events,
    site::{Effect, FRESH, Settings, Site, effect, lifetime, seconds, shop},
};
use std::time::{Duration, SystemTime};

const OLD: [u8; 32] = *b"0123456789abcdefghijklmnopqrstuv";
const NEW: [u8; 32] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZ987654";

/// How long a session lasts at most.
const ABSOLUTE: Duration = seconds(3_600);

/// A ring as an operator writes it, `OLD` and `NEW` standing for the keys.
fn ring(text: &str) -> KeyRing {
    let key = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    text.replace("OLD", &key(&OLD)).replace("NEW", &key(&NEW)).parse().unwrap()
}

/// A server with that ring, and its clock.
fn node(clock: &ManualClock, keys: &str) -> Site {
    Site::at(clock.clone(), CookieStore::new(ring(keys)), &Settings::lasting(lifetime(ABSOLUTE)), shop())
}

fn clock() -> ManualClock {
    ManualClock::new(SystemTime::UNIX_EPOCH + seconds(1_800_000_000))
}

/// A visit: the new value of the cookie.
async fn visit(node: &Site, cookie: &str) -> String {
    let Effect::Set(value) = effect(&node.present("/visit", cookie).await) else { panic!("a visit seals anew") };
    value
}

/// A new session: the value of its cookie.
async fn sign_in(node: &Site) -> String {
    let Effect::Set(value) = effect(&node.browser.fork().post("/name/Ada").await) else { panic!("a session begins") };
    value
}

async fn opens(node: &Site, cookie: &str) -> bool {
    let response = node.present("/", cookie).await;
    let opened = response.text() != FRESH;
    assert_eq!(effect(&response) == Effect::Clear, !opened, "what opens nothing is cleared");
    opened
}

fn key_id(cookie: &str) -> Vec<u8> {
    Base64UrlUnpadded::decode_vec(cookie).unwrap()[1..5].to_vec()
}

fn id_of(key: &[u8]) -> Vec<u8> {
    blake3::derive_key("cloakroom 1 key id", key)[..4].to_vec()
}

#[tokio::test]
async fn a_seal_carries_the_id_of_the_active_key_wherever_it_stands_in_the_list() {
    let clock = clock();
    for keys in ["NEW", "NEW,retired:OLD", "retired:OLD,NEW", "active:NEW,created:OLD", "created:OLD,active:NEW"] {
        let node = node(&clock, keys);
        assert_eq!(key_id(&sign_in(&node).await), id_of(&NEW), "{keys}");
        assert!(
            format!("{:?}", ring(keys))
                .contains(&format!("active: \"{}\"", id_of(&NEW).iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
        );
    }
}

#[tokio::test]
async fn created_and_retired_keys_open_and_the_next_write_seals_with_the_active_one() {
    let clock = clock();
    let sealed = sign_in(&node(&clock, "OLD")).await;
    for keys in ["NEW,retired:OLD", "NEW,created:OLD"] {
        let node = node(&clock, keys);
        assert!(opens(&node, &sealed).await, "{keys}");
        let again = visit(&node, &sealed).await;
        assert_eq!((key_id(&sealed), key_id(&again)), (id_of(&OLD), id_of(&NEW)), "{keys}");
    }
}

#[tokio::test]
async fn a_removed_key_opens_nothing() {
    let clock = clock();
    let sealed = sign_in(&node(&clock, "OLD")).await;
    let events = Events::capture();
    assert!(!opens(&node(&clock, "NEW"), &sealed).await);
    assert!(events.take().iter().any(|line| line.contains("session.refused") && line.contains("malformed")));
}

/// The documented procedure: what stands in the variable at each step.
const STEPS: [&str; 4] = ["active:OLD", "active:OLD,created:NEW", "retired:OLD,active:NEW", "active:NEW"];

/// The steps after which a whole absolute lifetime is waited out before the next.
const WAIT_AFTER: usize = 2;

/// Sessions of a fleet: what is in their cookies, and when the last of them ends.
struct Sessions(Vec<(String, SystemTime)>);

impl Sessions {
    /// Begins a session on each node, then has every living one served by every node, in both orders, reads and writes.
    async fn go_on(&mut self, nodes: [&Site; 2], now: SystemTime, step: &str) {
        self.0.retain(|(_, end)| now < *end);
        for node in nodes {
            self.0.push((sign_in(node).await, now + ABSOLUTE));
        }
        for (cookie, _) in &mut self.0 {
            for (first, then) in [(nodes[0], nodes[1]), (nodes[1], nodes[0])] {
                // The copy of before is still around, in another tab.
                let sealed = visit(first, cookie).await;
                assert!(opens(then, &sealed).await && opens(then, cookie).await, "{step}");
                *cookie = visit(then, &sealed).await;
                assert!(opens(first, cookie).await, "{step}");
            }
        }
    }
}

#[tokio::test]
async fn a_fleet_that_replaces_a_key_step_by_step_loses_nobody_at_any_moment_in_either_order() {
    for order in [[0, 1], [1, 0]] {
        let clock = clock();
        let now = || cloakroom::Clock::now(&clock);
        let mut nodes = [node(&clock, STEPS[0]), node(&clock, STEPS[0])];
        let mut sessions = Sessions(Vec::new());
        sessions.go_on([&nodes[0], &nodes[1]], now(), STEPS[0]).await;
        for (at, step) in STEPS.iter().enumerate().skip(1) {
            for which in order {
                nodes[which] = node(&clock, step);
                sessions.go_on([&nodes[0], &nodes[1]], now(), step).await;
                clock.advance(seconds(60));
            }
            // And back, as a deploy that goes wrong does, and forth again.
            for which in order {
                nodes[which] = node(&clock, STEPS[at - 1]);
                sessions.go_on([&nodes[0], &nodes[1]], now(), step).await;
                nodes[which] = node(&clock, step);
                sessions.go_on([&nodes[0], &nodes[1]], now(), step).await;
            }
            if at == WAIT_AFTER {
                clock.advance(ABSOLUTE);
            }
        }
        for (cookie, _) in &sessions.0 {
            assert_eq!(key_id(cookie), id_of(&NEW));
        }
    }
}

#[tokio::test]
async fn each_wait_of_the_procedure_is_needed() {
    let clock = clock();
    // A node that seals before all know the key.
    let sealed = sign_in(&node(&clock, STEPS[2])).await;
    assert!(!opens(&node(&clock, STEPS[0]), &sealed).await);
    // A key that is removed a second before the last of its sessions has ended.
    let sealed = sign_in(&node(&clock, STEPS[1])).await;
    clock.advance(ABSOLUTE - seconds(1));
    assert!(opens(&node(&clock, STEPS[2]), &sealed).await && !opens(&node(&clock, STEPS[3]), &sealed).await);
    clock.advance(seconds(1));
    assert!(!opens(&node(&clock, STEPS[2]), &sealed).await, "a second later nothing is lost");
}
