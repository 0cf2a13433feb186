use proptest::prelude::*;

use super::*;

fn printed(text: &str) -> String {
    match parse(text) {
        Ok(parsed) => parsed.expr.to_string(),
        Err(mistake) => panic!("{text}: {mistake}"),
    }
}

#[test]
fn filters_mean_what_they_say() {
    for (typed, meant) in [
        ("", ""),
        ("  ", ""),
        ("service=orders", "service=orders"),
        ("operation:\"POST /orders\"", "name=\"POST /orders\""),
        ("kind=SERVER status:error", "kind=server status=error"),
        ("duration>250ms duration <= 2 s", "duration>250ms duration<=2s"),
        ("duration>1500ms", "duration>1500ms"),
        ("name~\"^GET /.*\\d\"", "name~\"^GET /.*\\\\d\""),
        ("http.response.status_code>=500", "http.response.status_code>=500"),
        ("order.id=123 order.id=\"123\"", "order.id=123 order.id=\"123\""),
        ("db.system !=mysql", "db.system!=mysql"),
        ("has:exception.type missing:order.id", "has:exception.type -has:order.id"),
        ("-service=web not timeout !error", "-service=web -timeout -error"),
        ("\"Free Text\"", "\"Free Text\""),
        ("10.0.0.1:8080", "\"10.0.0.1:8080\""),
        ("root.service=web trace.duration>1s trace.errors=0", "root.service=web trace.duration>1s trace.errors=0"),
        ("edge=orders>payments", "edge=orders>payments"),
        ("edge:\"orders → payments\" edge=*->db", "edge=orders>payments edge=*>db"),
        ("event~timeout version=1.2.3 instance=i-1", "event~\"timeout\" version=1.2.3 instance=i-1"),
        ("a and b AND c or d", "a b c or d"),
        ("a (b or c)", "a (b or c)"),
        ("-(a b)", "-(a b)"),
        ("not not a", "a"),
        ("((a))", "a"),
        ("{service=a} -{service=b}", "{service=a} -{service=b}"),
        ("\"version\"=2 version=2", "\"version\"=2 version=2"),
        ("span.version=2 resource.\"odd key\"=x", "span.version=2 resource.\"odd key\"=x"),
        ("name=f(x) (name=g(y))", "name=\"f(x)\" name=\"g(y)\""),
        ("name=GET*", "name=GET*"),
        ("name=\"GET*\"", "name=\"GET*\""),
        ("trace.id=4BF9*", "trace.id=4bf9*"),
        ("a=~b a==b", "a~\"b\" a=b"),
        ("or=1", "\"or\"=1"),
        ("x='it\\'s'", "x=\"it's\""),
        ("x=\"\"", "x=\"\""),
    ] {
        assert_eq!(printed(typed), meant, "{typed}");
        assert_eq!(printed(&printed(typed)), meant, "{typed} again");
    }
}

#[test]
fn mistakes_say_where_what_and_what_to_do() {
    for (typed, said) in [
        ("service=a duration>", "expected a value after `duration>` at character 20, such as 250ms"),
        ("(duration>)", "expected a value after `duration>` at character 11, such as 250ms"),
        ("name ~", "expected a value after `name ~` at character 7, such as \"^GET /\""),
        (
            "ä duration>250",
            "`250` is no duration at character 12; a duration is a number and a unit (ns, us, ms, s, m, h), such as 250ms",
        ),
        ("kind=sever", "`kind` has no value `sever` at character 6; did you mean `server`?"),
        ("status=bad", "`status` has no value `bad` at character 8; it is one of unset, ok, error"),
        ("service>3", "`service` cannot be compared with `>` at character 1; use = or ~"),
        ("duration~3", "`duration` cannot be compared with `~` at character 1; use = > >= < or <="),
        (
            "order.id>abc",
            "`abc` is no number at character 10; after `order.id>` comes a number, such as 100, for attributes have no unit",
        ),
        ("trace.duraton>1s", "there is no field `trace.duraton` at character 1; did you mean `trace.duration`?"),
        (
            "root.x=1",
            "there is no field `root.x` at character 1; an attribute of that name is written \"root.x\", in quotes",
        ),
        ("name=\"GET", "the \" at character 6 is never closed; put a \" at the end of the text"),
        ("(a or b", "the `(` at character 1 is never closed; put a `)` behind what belongs inside"),
        (
            "a)",
            "nothing is open that `)` could close at character 2; take it out, or put what belongs inside into brackets",
        ),
        ("()", "expected a term at character 2, such as service=orders"),
        ("a or", "expected a term at character 5, such as service=orders"),
        ("-", "expected a term at character 2, such as service=orders"),
        ("=5", "expected a field before `=` at character 1, such as service; put text that begins so into quotes"),
        (
            "edge=orders",
            "`orders` is no edge at character 6; write CALLER>CALLEE, such as orders>payments, where * stands for any name",
        ),
        ("edge!=a>b", "`edge` cannot be compared with `!=` at character 1; -edge=CALLER>CALLEE leaves an edge out"),
        ("trace.id=12", "`12` is no id at character 10; it has 32 hexadecimal digits, or fewer and a * for the rest"),
        ("has:", "expected the name of a field at character 5, such as order.id"),
    ] {
        assert_eq!(parse(typed).expect_err(typed).to_string(), said, "{typed}");
    }
    let unclosed = parse("name~(a").expect_err("an open group").to_string();
    assert!(unclosed.contains("is no regular expression at character 6: unclosed group"), "{unclosed}");
}

#[test]
fn near_misses_of_built_in_names_are_pointed_out() {
    let parsed = parse("servce=orders customer=7 has:durations").expect("both could be attributes");
    let texts: Vec<&str> = parsed.hints.iter().map(|h| h.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "`servce` is taken as an attribute; did you mean `service`?",
            "`durations` is taken as an attribute; did you mean `duration`?"
        ]
    );
    assert_eq!((parsed.hints[1].from, parsed.hints[1].to), (29, 38));
    assert!(parse("\"servce\"=orders").expect("quoted").hints.is_empty());
}

#[test]
fn sizes_are_limited() {
    assert!(parse(&"a ".repeat(5000)).expect_err("long").what.contains("longer than 8192 bytes"));
    assert!(parse(&"a ".repeat(200)).expect_err("many").what.contains("more than 128 terms"));
    for deep in [format!("{}a", "(".repeat(500)), format!("{}a", "-".repeat(500)), "not ".repeat(500)] {
        assert!(parse(&deep).expect_err("deep").what.contains("more than 32 deep"));
    }
}

#[test]
fn every_field_is_found_by_its_name_and_explained() {
    for known in Known::ALL {
        assert_eq!(Known::of(known.name()), Some(known));
        assert!(HELP.contains(known.name()), "{}", known.name());
    }
}

#[test]
fn what_is_expected_depends_on_what_stands_before() {
    let value = |key: &str, op, typed| Expected::Value { field: Field::named(key).expect("a field"), op, typed };
    for (text, wanted) in [
        ("", Expected::Field { typed: 0..0 }),
        ("ser", Expected::Field { typed: 0..3 }),
        ("-(ser", Expected::Field { typed: 2..5 }),
        ("a ", Expected::Field { typed: 2..2 }),
        ("service=", value("service", Op::Equal, 8..8)),
        ("service=or", value("service", Op::Equal, 8..10)),
        ("a=1 b!=\"x y", value("b", Op::Differs, 7..11)),
        ("a=1 ", Expected::Field { typed: 4..4 }),
        ("has:or", Expected::Field { typed: 4..6 }),
        ("{duration>", value("duration", Op::Above, 10..10)),
        ("\"odd key\"", Expected::Op { field: Field::attribute("odd key"), at: 9 }),
        ("\"odd", Expected::Nothing),
    ] {
        assert_eq!(expected(text, text.len()), wanted, "{text}");
    }
    assert_eq!(expected("ser=1", 3), Expected::Field { typed: 0..3 }, "what is behind the cursor does not count");
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9_.]{0,6}",
        ".{1,6}",
        prop::sample::select(vec!["or", "has", "version", "trace.x", "span.y", "event", "_x"]).prop_map(str::to_owned),
    ]
}

fn compare() -> impl Strategy<Value = Expr> {
    let equal = || prop::sample::select(vec![Op::Equal, Op::Differs]);
    let order = || prop::sample::select(vec![Op::Below, Op::AtMost, Op::Above, Op::AtLeast]);
    let place = prop::sample::select(vec![Place::Anywhere, Place::Span, Place::Resource, Place::Event]);
    let attribute = (place, key()).prop_map(|(place, key)| Field::Attribute(place, key)).boxed();
    let text = || prop_oneof![".{0,8}", "[a-z0-9.*]{0,5}", Just("12".to_owned())];
    let number = (-1000i64..1000).prop_map(|n| Value::Number(Number::parse(&n.to_string()).expect("a number")));
    prop_oneof![
        (attribute.clone(), equal(), text()).prop_map(|(f, op, t)| Expr::compare(f, op, Value::Text(t))),
        (attribute.clone(), order(), number).prop_map(|(f, op, n)| Expr::compare(f, op, n)),
        (equal(), text()).prop_map(|(op, t)| Expr::compare(Field::Known(Known::Service), op, Value::Text(t))),
        (equal(), "[a-z]{0,3}\\*[a-z*]{0,3}").prop_map(|(op, g)| Expr::compare(
            Field::Known(Known::Name),
            op,
            Value::Glob(Glob::new(g))
        )),
        (order(), any::<u64>()).prop_map(|(op, n)| Expr::compare(
            Field::Known(Known::Duration),
            op,
            Value::Duration(n)
        )),
        "[a-z.\\\\\"]{0,6}".prop_filter_map("a sound pattern", |p| {
            let pattern = Pattern::new(&p).ok()?;
            Some(Expr::compare(Field::Known(Known::Message), Op::Misses, Value::Pattern(pattern)))
        }),
        ("[a-z*]{1,5}", "[a-z \"]{0,3}[a-z]").prop_map(|(a, b)| {
            let edge = Value::Edge(Glob::new(a), Glob::new(b.trim()));
            Expr::compare(Field::Known(Known::Edge), Op::Equal, edge)
        }),
        attribute.prop_map(|f| Expr::Term(Term::Has(f))),
        ".{0,8}".prop_map(|t| Expr::Term(Term::Text(Needle::new(t).expect("short")))),
    ]
}

fn expr() -> impl Strategy<Value = Expr> {
    compare().prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::all),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::either),
            inner.clone().prop_map(Expr::not),
            inner.prop_map(Expr::somewhere),
        ]
    })
}

proptest! {
    #[test]
    fn printed_filters_read_the_same_again(expr in expr()) {
        let text = expr.to_string();
        let parsed = parse(&text).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
        prop_assert_eq!(&parsed.expr, &expr, "{}", text);
    }

    #[test]
    fn no_text_does_harm(text in "[a-z0-9=<>!~:(){}\"' .*\\\\-]{0,40}|.{0,40}", cursor in 0usize..50) {
        match parse(&text) {
            Ok(parsed) => prop_assert_eq!(parse(&parsed.expr.to_string()).expect("printed").expr, parsed.expr),
            Err(mistake) => {
                prop_assert!(text.is_char_boundary(mistake.from) && text.is_char_boundary(mistake.to));
                prop_assert!(mistake.from <= mistake.to);
            }
        }
        let typed = match expected(&text, cursor) {
            Expected::Field { typed } | Expected::Value { typed, .. } => typed,
            Expected::Op { at, .. } => at..at,
            Expected::Nothing => 0..0,
        };
        prop_assert!(text.get(typed).is_some(), "what is replaced is a part of the text");
    }
}
