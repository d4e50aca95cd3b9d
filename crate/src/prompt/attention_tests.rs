use super::*;

fn texts(prompt: &str) -> Vec<(String, f32)> {
    let piece = |segment| match segment {
        Segment::Text { text, weight } => (text, weight),
        Segment::Break => ("BREAK".to_owned(), -1.0),
    };
    parse(prompt).unwrap().segments.into_iter().map(piece).collect()
}

/// Weights are products of a few f64 factors rounded to f32: equal to one unit in the last place.
fn check(prompt: &str, expected: &[(&str, f32)]) {
    let found = texts(prompt);
    assert_eq!(found.len(), expected.len(), "{prompt}: {found:?}");
    for ((text, weight), (expected_text, expected_weight)) in found.iter().zip(expected) {
        assert_eq!(text, expected_text, "{prompt}");
        assert!(
            (weight - expected_weight).abs() <= f32::EPSILON * expected_weight.abs(),
            "{prompt}: {weight}"
        );
    }
}

#[test]
fn weights() {
    let less = 1.0 / 1.1;
    let cases: [(&str, &[(&str, f32)]); 26] = [
        ("", &[]),
        ("a photo of a cat", &[("a photo of a cat", 1.0)]),
        ("a (cat)", &[("a ", 1.0), ("cat", 1.1)]),
        ("((a)) b", &[("a", 1.21), (" b", 1.0)]),
        ("[a]", &[("a", less)]),
        ("[[a] b]", &[("a", less * less), (" b", less)]),
        ("(a:1.3), b", &[("a", 1.3), (", b", 1.0)]),
        ("(a: 1.3 )", &[("a", 1.3)]),
        ("(a:-0.5)(b:+2)(c:.5)(d:0)", &[("a", -0.5), ("b", 2.0), ("c", 0.5), ("d", 0.0)]),
        ("(a (b:2) c:1.5)", &[("a ", 1.5), ("b", 3.0), (" c", 1.5)]),
        ("\\(a\\) \\[b\\] \\\\", &[("(a) [b] \\", 1.0)]),
        ("(a\\):1.5)", &[("a)", 1.5)]),
        ("C:\\dir \\", &[("C:\\dir \\", 1.0)]),
        ("a (b", &[("a ", 1.0), ("b", 1.1)]),
        ("a [b", &[("a ", 1.0), ("b", less)]),
        ("a) b] c", &[("a) b] c", 1.0)]),
        ("(time: noon)", &[("time: noon", 1.1)]),
        ("time:1.5) x", &[("time:1.5) x", 1.0)]),
        ("a:b 16:9", &[("a:b 16:9", 1.0)]),
        ("(12:30:1.2)", &[("12:30", 1.2)]),
        ("(a: b", &[("a: b", 1.1)]),
        ("([a:1.5)", &[("a", 1.5 * less)]),
        ("()", &[]),
        ("x BREAK y", &[("x", 1.0), ("BREAK", -1.0), ("y", 1.0)]),
        ("(x BREAK BREAK y:1.5)", &[("x", 1.5), ("BREAK", -1.0), ("BREAK", -1.0), ("y", 1.5)]),
        ("BREAKFAST, a_BREAK, éBREAK", &[("BREAKFAST, a_BREAK, éBREAK", 1.0)]),
    ];
    for (prompt, expected) in cases {
        check(prompt, expected);
    }
}

#[test]
fn tags_are_taken_out() {
    let parsed = parse("a (<lora:x:0.8>cat:1.5)").unwrap();
    assert_eq!(parsed.loras, [LoraTag { name: "x".to_owned(), strength: 0.8 }]);
    check("a (<lora:x:0.8>cat:1.5)", &[("a ", 1.0), ("cat", 1.5)]);
}

#[test]
fn what_other_tools_read_more_in_is_said_once() {
    for (prompt, said) in [
        ("a [cat:dog:0.5]", &["`[cat:dog:0.5]`"][..]),
        ("[hat:10], [a|b]", &["`[hat:10]`"]),
        ("[a|b] AND [c|d] AND e", &["`[a|b]`", "`AND`"]),
        ("<hypernet:x:1> [(cat:1.2)] [at 12:30 sharp] BRAND and [so: no]", &["<hypernet:x:1>"]),
    ] {
        let warnings = parse(prompt).unwrap().warnings;
        assert_eq!(warnings.len(), said.len(), "{prompt}: {warnings:?}");
        assert!(
            warnings.iter().zip(said).all(|(warning, said)| warning.contains(said)),
            "{prompt}: {warnings:?}"
        );
    }
}

#[test]
fn slips_are_errors_that_name_the_piece() {
    let deep = "(".repeat(MAX_DEPTH + 1);
    let heavy = format!("{}x{}", "(".repeat(25), ")".repeat(25));
    let cases = [
        ("a (cat:1.2.3)", "(cat:1.2.3)"),
        ("(cat:)", "(cat:)"),
        ("(cat:abc)", "(cat:abc)"),
        ("(cat:1e3)", "(cat:1e3)"),
        ("(cat:inf)", "(cat:inf)"),
        ("(cat:nan)", "(cat:nan)"),
        ("(cat:.)", "(cat:.)"),
        ("(cat:1.2, dog)", "(cat:1.2, dog)"),
        ("a (cat:1.2", "(cat:1.2"),
        ("(cat:11)", "(cat:11)"),
        ("(cat:-99)", "(cat:-99)"),
        ("((cat:9):9)", "cat"),
        (&deep, "brackets"),
        (&heavy, "`x`"),
    ];
    for (prompt, names) in cases {
        let error = parse(prompt).expect_err(prompt);
        assert_eq!(error.code(), "bad_prompt");
        assert!(error.to_string().contains(names), "{prompt}: {error}");
    }
    assert!(parse(&"x".repeat(MAX_PROMPT_BYTES + 1)).is_err());
    let error = parse(&format!("({}:z)", "é".repeat(1000))).unwrap_err();
    assert!(error.to_string().len() < 400, "{error}");
}

/// Any text of these signs is understood or refused, without panic and in time.
#[test]
fn random_prompts() {
    let signs: Vec<char> = "()[]\\:.,1-+ aBé\n<>lorABREK".chars().collect();
    let mut state = 1u64;
    for _ in 0..20_000 {
        let mut prompt = String::new();
        for _ in 0..24 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            prompt.push(signs[(state >> 33) as usize % signs.len()]);
        }
        if let Ok(parsed) = parse(&prompt) {
            for segment in parsed.segments {
                let Segment::Text { text, weight } = segment else { continue };
                assert!(!text.is_empty() && weight.abs() <= MAX_WEIGHT as f32, "{prompt}");
            }
        }
    }
    let long = "(x [y".repeat(20) + &"z:(w:1.1) ".repeat(6000);
    assert!(parse(&long).is_ok());
}
