//! Deadlines under a clock of the test's own.

use std::future::poll_fn;

use super::*;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn deadlines() -> Deadlines {
    Deadlines { connect: secs(1), first_token: secs(10), between_tokens: secs(4), total: secs(60) }
}

fn watch(burden: &Burden) -> Watch {
    Watch::new(Time { deadlines: deadlines(), began: Instant::now() }, burden, Alarm::default())
}

/// When the next deadline passes from now, and which.
async fn passes(watch: &mut Watch) -> (Duration, Passed) {
    let from = Instant::now();
    let passed = poll_fn(|cx| watch.poll(cx)).await;
    // The runtime's timers count whole milliseconds.
    (secs((from.elapsed().as_millis() as u64 + 500) / 1000), passed)
}

/// Nothing happens for a while.
async fn quiet(watch: &mut Watch, time: Duration) {
    let passed = tokio::time::timeout(time, poll_fn(|cx| watch.poll(cx))).await;
    assert!(passed.is_err(), "{passed:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_token_is_waited_for_with_the_length_of_the_prompt() {
    let cases = [
        (Burden::default(), 10),
        (Burden { prompt_tokens: 200, ..Burden::default() }, 10 + 10),
        (Burden { prompt_tokens: 200, prefill_tps: Some(40), ..Burden::default() }, 10 + 20),
        (Burden { prompt_tokens: 200, prefill_tps: Some(1), ..Burden::default() }, 10 + 40),
        (Burden { prompt_tokens: 2500, prefill_tps: Some(100_000), ..Burden::default() }, 10 + 10),
        (Burden { whole: Some(Some(50)), ..Burden::default() }, 10 + 10),
    ];
    for (burden, wanted) in cases {
        let (took, passed) = passes(&mut watch(&burden)).await;
        assert_eq!((took, passed.name), (secs(wanted), Name::FirstToken), "{burden:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_byte_gives_the_next_its_time() {
    let mut watch = watch(&Burden::default());
    quiet(&mut watch, secs(9)).await;
    for _ in 0..5 {
        watch.heard();
        quiet(&mut watch, Duration::from_millis(3900)).await;
    }
    watch.heard();
    let (took, passed) = passes(&mut watch).await;
    assert_eq!((took, passed.name, passed.of), (secs(4), Name::BetweenTokens, secs(4)));
}

#[tokio::test(start_paused = true)]
async fn an_early_timer_is_believed_only_when_its_time_has_come() {
    let mut watch = watch(&Burden::default());
    quiet(&mut watch, secs(1)).await;
    // Armed for the first token at 10 s, which is 4.5 s after this.
    quiet(&mut watch, Duration::from_millis(4500)).await;
    watch.heard();
    let heard = Instant::now();
    let (_, passed) = passes(&mut watch).await;
    assert_eq!(passed.name, Name::BetweenTokens);
    let took = heard.elapsed();
    assert!(took > secs(4) && took <= Duration::from_millis(4505), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_total_ends_a_lively_answer_and_counts_over_all_tries() {
    let began = Instant::now();
    tokio::time::advance(secs(50)).await;
    let mut watch = Watch::new(Time { deadlines: deadlines(), began }, &Burden::default(), Alarm::default());
    for _ in 0..3 {
        watch.heard();
        quiet(&mut watch, secs(3)).await;
    }
    watch.heard();
    let (took, passed) = passes(&mut watch).await;
    assert_eq!((took, passed.name, passed.of), (secs(1), Name::Total, secs(60)));
}

#[tokio::test(start_paused = true)]
async fn a_server_lives_that_was_heard_lately() {
    let watch = watch(&Burden::default());
    let at = Instant::now();
    tokio::time::advance(secs(3)).await;
    assert!(watch.lives(Some(at)));
    tokio::time::advance(secs(1)).await;
    assert!(!watch.lives(Some(at)));
    assert!(!watch.lives(None));
}

/// As what hyper waits on for the head of a request.
struct Wait {
    alarm: Alarm,
    due: Instant,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.alarm.poll(cx, self.due, Duration::ZERO)
    }
}

fn head(alarm: &Alarm, within: u64) -> Wait {
    Wait { alarm: alarm.clone(), due: Instant::now() + secs(within) }
}

#[tokio::test(start_paused = true)]
async fn hyper_waits_on_the_same_alarm() {
    let alarm = Alarm::default();
    let began = Instant::now();
    let mut first = head(&alarm, 15);
    assert!(tokio::time::timeout(secs(14), &mut first).await.is_err());
    let mut watch =
        Watch::new(Time { deadlines: deadlines(), began: Instant::now() }, &Burden::default(), alarm.clone());
    drop(first);
    // The alarm that was set for the head rings meanwhile.
    quiet(&mut watch, secs(9)).await;
    drop(watch);
    let idle = Instant::now();
    head(&alarm, 15).await;
    assert_eq!(secs((idle.elapsed().as_millis() as u64 + 500) / 1000), secs(15));
    // Two at once, the later one asked first.
    let both = Instant::now();
    let (mut late, mut soon) = (head(&alarm, 8), head(&alarm, 3));
    let rang = poll_fn(|cx| match (Pin::new(&mut late).poll(cx), Pin::new(&mut soon).poll(cx)) {
        (Poll::Pending, Poll::Pending) => Poll::Pending,
        rang => Poll::Ready(rang),
    });
    assert_eq!(rang.await, (Poll::Pending, Poll::Ready(())));
    late.await;
    assert_eq!(secs((both.elapsed().as_millis() as u64 + 500) / 1000), secs(8));
    assert!(began.elapsed() > secs(14 + 9 + 15 + 8 - 1));
}

#[test]
fn told_with_name_and_length() {
    for (name, of, extra, said) in [
        (Name::Connect, secs(5), Duration::ZERO, "connect deadline of 5 s"),
        (
            Name::BetweenTokens,
            Duration::from_millis(250),
            Duration::ZERO,
            "between tokens deadline of 0.25 s",
        ),
        (
            Name::FirstToken,
            secs(125),
            secs(5),
            "first token deadline of 125 s (120 s and 5 s for the length of the request)",
        ),
        (Name::Total, Duration::from_millis(60_549), Duration::ZERO, "total deadline of 60.5 s"),
    ] {
        assert_eq!(Passed { name, of, extra }.to_string(), said);
    }
}
