use fuseboard_policy::document::{PolicyDocument, Problem};
use fuseboard_policy::set::PolicySet;
use proptest::prelude::*;

fn problems(text: &str) -> Vec<String> {
    PolicyDocument::parse(text).err().unwrap_or_default().iter().map(Problem::to_string).collect()
}

#[test]
fn every_problem_is_named_not_only_the_first() {
    let found = problems(
        r#"
        version = 1
        [[edge]]
        service = "*"
        timeout = { attempt_ms = 3000, overall_ms = 2000 }
        [[edge]]
        service = "payments"
        operation = "Charge"
        breaker = { window = { kind = "count", size = 10 }, min_cals = 5, min_calls = 20, failure_ratio = 1.5 }
        fault = { delay_ms = 5 }
        [[edge]]
        service = "stock"
        retry = { max_attempts = 0, on = ["unavailible"], backoff = { base_ms = 500, max_ms = 100 } }
        "#,
    );
    let wanted = [
        "version: unknown setting; known here: edge, service",
        "edge[1] *: timeout.attempt_ms: 3000 is more than overall_ms, 2000, and would never act",
        "edge[2] payments/Charge: breaker.failure_ratio: 1.5 is out of range; it must be a number from 0 to 1",
        "edge[2] payments/Charge: breaker.min_cals: unknown setting; did you mean `min_calls`?",
        "edge[2] payments/Charge: fault: a fault is never part of a policy; inject it as a temporary override",
        "edge[2] payments/Charge: breaker.min_calls: 20 is more than the window holds, 10: the breaker would never trip",
        "edge[2] payments/Charge: breaker: never trips; give failure_ratio, failure_count, consecutive_failures or slow_ratio",
        "edge[3] stock: retry.max_attempts: 0 is out of range; it must be a whole number from 1 to 100",
        "edge[3] stock: retry.on: unknown word `unavailible`; did you mean `unavailable`? (or an HTTP status such as `503`, or `5xx`)",
        "edge[3] stock: retry.max_attempts: is missing; without it nothing is ever tried again",
        "edge[3] stock: retry.backoff.max_ms: 100 is less than base_ms, 500",
    ];
    assert_eq!(found, wanted, "{found:#?}");
}

#[test]
fn the_merged_result_is_what_is_checked() {
    let text = r#"
        [[edge]]
        service = "*"
        breaker = { window = { kind = "count", size = 10 }, failure_ratio = 0.5 }
        [[edge]]
        service = "payments"
        breaker = { min_calls = 20 }
    "#;
    assert_eq!(
        problems(text),
        ["edge[2] payments: breaker.min_calls: 20 is more than the window holds, 10: the breaker would never trip"]
    );
    let alone =
        "[[edge]]\nservice = \"payments\"\nbreaker = { window = { kind = \"time\", ms = 10 }, failure_ratio = 0.5 }";
    assert_eq!(
        problems(alone)[0],
        "edge[1] payments: breaker.window: `buckets` missing, here and in what is inherited"
    );
}

#[test]
fn names_and_forms_are_checked() {
    for (text, wanted) in [
        ("[[edge]]\n", "service: is missing"),
        ("[[edge]]\nservice = 5\n", "service: must be a name in quotes, not an integer 5"),
        ("[[edge]]\nservice = \"a/b\"\n", "separates caller, service and operation"),
        ("[[edge]]\nservice = \"*\"\noperation = \"x\"\n", "operation: an operation belongs to a service"),
        ("[[edge]]\nservice = \"a\"\n[[edge]]\nservice = \"a\"\n", "edge[2] a: matches the same edges as edge[1]"),
        ("[[edge]]\nservice = \"*\"\npreset = \"rpc50\"\n", "did you mean `rpc-50`?"),
        ("edge = 5\n", "two brackets"),
        ("[[edge]\n", "document: TOML parse error at line 1"),
        (
            "[[edge]]\nservice = \"a\"\nbreaker = { window = { kind = \"time\", ms = 10, buckets = 3 }, failure_count = 1 }",
            "breaker.window.buckets: 3 slices do not divide 10 ms evenly",
        ),
        (
            "[[edge]]\nservice = \"a\"\nbreaker = { failure_ratio = 0.5 }",
            "breaker.failure_ratio: never acts without a window",
        ),
        (
            "[[edge]]\nservice = \"a\"\nbreaker = { consecutive_failures = 5, inflight_slow = true }",
            "breaker.inflight_slow: never acts without slow_ratio",
        ),
    ] {
        let found = problems(text);
        assert!(found.iter().any(|problem| problem.contains(wanted)), "{text}: {found:?}");
    }
}

fn ms() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(1u64..1_000)
}

fn line(name: &str, value: Option<impl std::fmt::Display>) -> String {
    value.map(|value| format!("{name} = {value}\n")).unwrap_or_default()
}

/// Valid rules of every kind.
fn settings() -> impl Strategy<Value = String> {
    let breaker = (0u8..4, 1u64..50, 1u64..10, prop::option::of(0u32..=100), prop::option::of(1u64..9), ms());
    let breaker = breaker.prop_map(|(kind, size, buckets, percent, run, open)| {
        let window = match kind {
            0 => format!("window = {{ kind = \"count\", size = {size} }}\n"),
            _ => format!("window = {{ kind = \"time\", ms = {}, buckets = {buckets} }}\n", size * buckets),
        };
        format!(
            "[edge.breaker]\n{window}failure_ratio = {}\n{}{}",
            f64::from(percent.unwrap_or(50)) / 100.0,
            line("consecutive_failures", run),
            line("open_ms", open),
        )
    });
    let retry = (1u32..5, any::<bool>(), 0u8..3).prop_map(|(attempts, all, budget)| {
        let budget = match budget {
            0 => "",
            1 => "budget = { ratio = 0.2, min_per_sec = 1, ttl_ms = 10000 }\n",
            _ => "budget = { max_tokens = 10, token_ratio = 0.1 }\n",
        };
        format!("[edge.retry]\nmax_attempts = {attempts}\nnon_idempotent = {all}\non = [\"5xx\", \"reset\"]\n{budget}")
    });
    let timeout =
        ms().prop_map(|attempt| attempt.map(|ms| format!("timeout = {{ attempt_ms = {ms} }}\n")).unwrap_or_default());
    let preset = prop::option::of(prop::sample::select(vec!["preset = \"count-20\"\n", "preset = \"sre-throttle\"\n"]))
        .prop_map(Option::unwrap_or_default);
    let limits = prop::sample::subsequence(
        vec![
            "rate = { algorithm = \"sliding_window\", limit = 10, window_ms = 1000 }\n",
            "throttle = { kind = \"sre\", k = 1.5 }\n",
            "concurrency = { kind = \"gradient2\", initial = 20, min = 2, max = 200, smoothing = 0.2, queue = 4, \
             long_window = 600, tolerance = 1.5 }\n",
            "balance = { algorithm = \"consistent_hash\", key = \"header:x-user-id\", max_load = 1.25 }\n",
            "hedge = { after_quantile = 0.95, max_extra = 2 }\n",
            "fallback = { kind = \"value\", name = \"empty cart\" }\n",
            "outlier = { interval_ms = 10000, base_ejection_ms = 30000, consecutive_failures = 5, \
             failure_percentage = { threshold = 85, enforcement_percent = 100, min_hosts = 3, request_volume = 50 } }\n",
        ],
        0..=7,
    );
    (timeout, preset, limits, prop::option::of(breaker), prop::option::of(retry)).prop_map(
        |(timeout, preset, limits, breaker, retry)| {
            let limits = limits.concat();
            format!("{timeout}{preset}{limits}{}{}", breaker.unwrap_or_default(), retry.unwrap_or_default())
        },
    )
}

fn documents() -> impl Strategy<Value = Vec<String>> {
    let names = prop::sample::subsequence(
        vec![
            "service = \"*\"\n",
            "service = \"*\"\ncaller = \"web\"\n",
            "service = \"a\"\n",
            "service = \"a\"\ncaller = \"web\"\n",
            "service = \"a\"\noperation = \"x/Y\"\n",
            "service = \"a\"\noperation = \"x/Y\"\ncaller = \"web\"\n",
            "service = \"b\"\n",
        ],
        0..=7,
    );
    let services = prop::sample::subsequence(
        vec![
            "name = \"*\"\nshed = { kind = \"bbr\", cpu_percent = 80 }\n",
            "name = \"a\"\nshed = { cpu_percent = 90, kind = \"bbr\" }\nslo = { p99_ms = 200 }\n",
            "name = \"b\"\nslo = { success = 1, p99_ms = 500, window_days = 7 }\n",
        ],
        0..=3,
    );
    (names, services).prop_flat_map(|(names, services)| {
        let count = names.len();
        prop::collection::vec(settings(), count).prop_map(move |settings| {
            let edges = names.iter().zip(settings).map(|(name, settings)| format!("[[edge]]\n{name}{settings}"));
            edges.chain(services.iter().map(|service| format!("[[service]]\n{service}"))).collect()
        })
    })
}

proptest! {
    #[test]
    fn a_document_survives_text_and_wire(rules in documents()) {
        let document = PolicyDocument::parse(&rules.concat());
        // A preset and other keys may not go together; what is refused is refused with a reason.
        let Ok(document) = document else {
            prop_assert!(document.is_err_and(|problems| !problems.is_empty()));
            return Ok(());
        };
        let again = PolicyDocument::parse(&document.to_toml()).unwrap();
        prop_assert_eq!(&again, &document);
        #[cfg(feature = "wire")]
        {
            let message = fuseboard_policy::wire::policy(7, &document);
            let bytes = prost::Message::encode_to_vec(&message);
            let message: fuseboard_policy::wire::v1::Policy = prost::Message::decode(&bytes[..]).unwrap();
            prop_assert_eq!(message.revision, 7);
            prop_assert_eq!(PolicyDocument::try_from(message).unwrap(), document);
        }
    }

    /// The order of the rules in a document does not matter.
    #[test]
    fn merging_is_deterministic(rules in documents(), turn in any::<prop::sample::Index>()) {
        let Ok(document) = PolicyDocument::parse(&rules.concat()) else { return Ok(()) };
        let mut turned = rules;
        if !turned.is_empty() {
            let by = turn.index(turned.len());
            turned.rotate_left(by);
            turned.reverse();
        }
        let (one, other) = (PolicySet::new(1, &document), PolicySet::new(1, &PolicyDocument::parse(&turned.concat()).unwrap()));
        for caller in ["web", "other"] {
            for (service, operation) in [("a", "x/Y"), ("a", "z"), ("b", "x/Y"), ("c", "q")] {
                let (one, other) = (one.effective(caller, service, operation), other.effective(caller, service, operation));
                prop_assert_eq!(one.hash(), other.hash());
                prop_assert_eq!(one, other);
            }
        }
        prop_assert_eq!(one.service("a"), other.service("a"));
    }

    /// No text makes the reader panic.
    #[test]
    fn any_text_is_read_or_refused(text in "(\\[\\[edge\\]\\]|service|=|\"\\*\"|breaker|\\{|\\}|window|\n| |-?[0-9]{1,20}|\\.|[a-z\\[\\],]){0,40}") {
        let _ = PolicyDocument::parse(&text);
    }
}

/// The document of the design, to the letter.
const EXAMPLE: &str = include_str!("example.toml");

#[test]
fn the_example_is_accepted_whole_and_says_what_it_says() {
    let document = PolicyDocument::parse(EXAMPLE).unwrap();
    assert_eq!(PolicyDocument::parse(&document.to_toml()).unwrap(), document);
    let set = PolicySet::new(1, &document);
    let edge = set.effective("orders", "payments", "payments.v1.Payments/Charge").settings;
    let written: toml::Table = EXAMPLE.parse().unwrap();
    let mut wanted = written["edge"][0].as_table().unwrap().clone();
    for name in ["caller", "service", "operation"] {
        wanted.remove(name);
    }
    // What the document leaves to defaults, spelled out by the types that have them.
    wanted["retry"]["budget"].as_table_mut().unwrap().insert("min_per_sec".to_owned(), 10.0.into());
    wanted["throttle"].as_table_mut().unwrap().insert("window_ms".to_owned(), 120_000.into());
    assert_eq!(toml::Table::try_from(&edge).unwrap(), wanted);
    let service = set.service("orders");
    assert_eq!(toml::Table::try_from(&service).unwrap(), {
        let mut wanted = written["service"][0].as_table().unwrap().clone();
        wanted.remove("name");
        wanted
    });
    assert_eq!(set.service("elsewhere"), Default::default());
}

#[test]
fn every_wrong_turn_of_the_example_is_refused_by_name() {
    let here = "edge[1] orders:payments/payments.v1.Payments/Charge";
    for (right, wrong, wanted) in [
        (
            "after_ms = 300",
            "after_ms = 0",
            "{here}: hedge.after_ms: 0 is out of range; it must be a whole number from 1",
        ),
        (
            "after_ms = 300",
            "after_ms = 800",
            "{here}: hedge.after_ms: 800 is not less than timeout.attempt_ms, 800: no hedge would ever begin",
        ),
        ("after_ms = 300", "after_sm = 300", "{here}: hedge.after_sm: unknown setting; did you mean `after_ms`?"),
        (
            "after_ms = 300, max",
            "max",
            "{here}: hedge: says not when; give after_ms or after_quantile, here or in what is inherited",
        ),
        (
            "after_ms = 300",
            "after_ms = 300, after_quantile = 0.95",
            "{here}: hedge: after_ms and after_quantile exclude each other; give one",
        ),
        ("after_ms = 300", "after_quantile = 1.5", "{here}: hedge.after_quantile: 1.5 is out of range"),
        (
            "max_extra = 1",
            "max_extra = 5",
            "{here}: hedge.max_extra: 5 is out of range; it must be a whole number from 0 to 4",
        ),
        ("hedge = {", "hedge = 5 #", "{here}: hedge: must be a table, not an integer 5"),
        ("\"status\", code", "\"satus\", code", "{here}: fallback.kind: unknown word `satus`; did you mean `status`?"),
        ("code = \"unavailable\"", "code = \"ok\"", "{here}: fallback.code: `ok` is no failure"),
        (
            "code = \"unavailable\"",
            "code = \"5xx\"",
            "{here}: fallback.code: `5xx` is many statuses; name one, such as `503`",
        ),
        (
            "code = \"unavailable\"",
            "code = \"UNAVAILABLE\"",
            "{here}: fallback.code: unknown word `UNAVAILABLE`; did you mean `unavailable`?",
        ),
        ("code = \"unavailable\"", "name = \"x\"", "{here}: fallback: `name` does not belong to status"),
        ("\"status\", code = \"unavailable\"", "\"value\"", "{here}: fallback: `name` missing"),
        ("\"status\", code = \"unavailable\"", "\"value\", name = \"\"", "{here}: fallback.name: is empty"),
        (
            "\"reset\",",
            "\"4xx\",",
            "{here}: retry.on: `4xx` are mistakes of the caller; list those that pass: `408`, `425`, `429`",
        ),
        ("\"reset\",", "\"6xx\",", "{here}: retry.on: unknown class `6xx`; did you mean `5xx`?"),
        ("\"reset\",", "\"2xx\",", "{here}: retry.on: `2xx` is no failure"),
        ("\"reset\",", "\"200\",", "{here}: retry.on: `200` is no failure"),
        ("\"reset\",", "503,", "{here}: retry.on: must be a list of words in quotes, not an integer 503"),
        ("\"reset\",", "\"unavailable\",", "{here}: retry.on: `unavailable` stands twice"),
        ("\"reset\",", "\"rset\",", "{here}: retry.on: unknown word `rset`; did you mean `reset`?"),
        ("\"bbr\"", "\"brr\"", "service[1] orders: shed.kind: unknown word `brr`; did you mean `bbr`?"),
        ("kind = \"bbr\", ", "", "service[1] orders: shed: names no kind; write `kind = …` with `bbr`"),
        (", cpu_percent = 80", "", "service[1] orders: shed: `cpu_percent` missing"),
        ("cpu_percent = 80", "cpu_percent = 101", "service[1] orders: shed.cpu_percent: 101 is out of range"),
        (
            "cpu_percent = 80",
            "cpu_per_cent = 80",
            "service[1] orders: shed.cpu_per_cent: unknown setting; did you mean `cpu_percent`?",
        ),
        (
            "success = 0.999",
            "success = 99.9",
            "service[1] orders: slo.success: 99.9 is out of range; it must be a number from 0 to 1",
        ),
        ("success = 0.999, p99_ms = 500, ", "", "service[1] orders: slo: promises nothing; give success or p99_ms"),
        ("window_days = 28", "window_days = 0", "service[1] orders: slo.window_days: 0 is out of range"),
        ("name = \"orders\"\n", "", "service[1]: name: is missing; name the service, or `*` for every one"),
        ("name = \"orders\"\n", "name = \"a:b\"\n", "service[1] a:b: name: `a:b` holds `:`"),
        ("shed = {", "shedd = {", "service[1] orders: shedd: unknown setting; did you mean `shed`?"),
        ("[[service]]", "[service]", "service: rules are written `[[service]]`, with two brackets"),
        (
            "[[service]]",
            "[[service]]\nname = \"orders\"\n[[service]]",
            "service[2] orders: is about the same service as service[1]; join the two",
        ),
        ("[[service]]", "[[servce]]", "servce: unknown setting; did you mean `service`?"),
    ] {
        assert!(EXAMPLE.contains(right), "{right}");
        let found = problems(&EXAMPLE.replacen(right, wrong, 1));
        let wanted = wanted.replace("{here}", here);
        assert!(found.iter().any(|problem| problem.starts_with(&wanted)), "{wrong}: {found:#?}");
    }
}

#[test]
fn a_hedge_of_another_kind_and_a_services_own_settings_lie_over_the_inherited() {
    use fuseboard_policy::settings::{Hedge, Shed, Slo};
    let text = r#"
        [[edge]]
        service = "*"
        hedge = { after_ms = 300, max_extra = 2 }
        [[edge]]
        service = "stock"
        hedge = { after_quantile = 0.9 }
        [[edge]]
        service = "payments"
        hedge = { max_extra = 0 }
        [[service]]
        name = "*"
        shed = { kind = "bbr", cpu_percent = 80 }
        slo = { success = 0.99 }
        [[service]]
        name = "stock"
        shed = { cpu_percent = 90 }
        slo = { p99_ms = 5 }
    "#;
    let set = PolicySet::new(1, &PolicyDocument::parse(text).unwrap());
    let hedge = |service| set.effective("a", service, "c").settings.hedge;
    assert_eq!(hedge("stock"), Some(Hedge { after_quantile: Some(0.9), ..Hedge::default() }));
    assert_eq!(hedge("payments"), Some(Hedge { after_ms: Some(300), max_extra: Some(0), after_quantile: None }));
    let stock = set.service("stock");
    assert_eq!(stock.shed, Some(Shed::Bbr { cpu_percent: 90 }));
    assert_eq!(stock.slo, Some(Slo { success: Some(0.99), p99_ms: Some(5), window_days: 28 }));
    assert_eq!(set.service("other").shed, Some(Shed::Bbr { cpu_percent: 80 }));
}

#[test]
fn tables_of_a_kind_are_whole_and_of_one_kind() {
    let found = problems(
        r#"
        [[edge]]
        service = "*"
        rate = { algorithm = "token_bucket", per_sec = 500 }
        throttle = { k = 2.0 }
        concurrency = { kind = "aimd", initial = 50, min = 60, max = 100, backoff_ratio = 0.9, timeout_ms = 500 }
        [[edge]]
        service = "stock"
        rate = { algorithm = "sliding_window", limit = 10, window_ms = 1000, burst = 5 }
        concurrency = { kind = "fixed", max = 64 }
        throttle = { kind = "sre", k = 1.5 }
        balance = { algorithm = "random", key = "x-user-id" }
        outlier = { interval_ms = 1000, base_ejection_ms = 5000, max_ejection_ms = 1000, success_rate = { min_hosts = 3 } }
        "#,
    );
    let wanted = [
        "edge[1] *: rate: `burst` missing, here and in what is inherited",
        "edge[1] *: throttle: names no kind; write `kind = …` with `sre`",
        "edge[1] *: concurrency.initial: 50 is not between 60 and 100",
        "edge[2] stock: balance.key: `x-user-id` names no header; write `header:x-user-id`, in lower case",
        "edge[2] stock: rate: `burst` does not belong to sliding_window",
        "edge[2] stock: outlier.success_rate: `stdev_factor` and `enforcement_percent` and `request_volume` missing, here and in what is inherited",
        "edge[2] stock: outlier: never ejects; give consecutive_failures, success_rate or failure_percentage",
    ];
    assert_eq!(found, wanted, "{found:#?}");
}

#[test]
fn limits_merge_key_by_key_and_another_kind_replaces() {
    let text = r#"
        [[edge]]
        service = "*"
        preset = "sre-throttle"
        rate = { algorithm = "token_bucket", per_sec = 500, burst = 50 }
        concurrency = { kind = "fixed", max = 64 }
        [[edge]]
        service = "stock"
        rate = { per_sec = 100 }
        concurrency = { kind = "vegas", initial = 10, max = 100 }
    "#;
    let set = PolicySet::new(1, &PolicyDocument::parse(text).unwrap());
    let stock = set.effective("a", "stock", "c").settings;
    use fuseboard_policy::settings::{Concurrency, Rate, Throttle};
    assert_eq!(stock.rate, Some(Rate::TokenBucket { per_sec: 100, burst: 50 }));
    assert_eq!(
        stock.concurrency,
        Some(Concurrency::Vegas { initial: 10, max: 100, smoothing: 1.0, probe_multiplier: 30 })
    );
    assert_eq!(stock.throttle, Some(Throttle::Sre { k: 2.0, window_ms: 120_000 }));
}
