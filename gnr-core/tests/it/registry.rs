//! Entries of methods are complete, their settings are checked, and errors say what is expected.

use gnr_core::{
    Error, optimizer,
    registry::{Configured, Domain, Entry, Interval, Key, Unset, Value, find},
    regularizer, schedule,
};

/// The entries of all kinds of methods.
fn all() -> Vec<&'static Entry> {
    [optimizer::entries(), schedule::entries(), regularizer::entries()].concat()
}

#[test]
fn every_entry_is_complete() {
    for (index, entry) in all().iter().enumerate() {
        let Entry { name, title, doc, equation, reference, .. } = entry;
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
        assert!(!title.is_empty() && equation.contains(['=', '←']), "{name}: title and equation");
        assert!(doc.len() > 30 && doc.ends_with('.'), "{name}: {doc:?} is no sentence");
        assert!(reference.len() > 40, "{name}: {reference:?} is no reference");
        assert!(entry.cost.gradients >= 0.0 && entry.cost.products >= 0.0, "{name}: cost");
        assert!(all()[..index].iter().all(|other| other.name != *name), "{name} is there twice");
        for (index, key) in entry.keys.iter().enumerate() {
            assert!(key.doc.len() > 8, "{name}.{}: no documentation", key.name);
            assert!(entry.keys[..index].iter().all(|other| other.name != key.name), "{name}.{}", key.name);
            if let Unset::Value(default) = &key.unset {
                assert_eq!(key.domain.check(default), Ok(()), "{name}.{}: the default", key.name);
            }
        }
    }
}

#[test]
fn every_method_is_built_by_name_with_its_defaults() {
    for entry in optimizer::entries() {
        let mut built = optimizer::build::<Vec<f64>>(&entry.values([]).unwrap()).unwrap();
        let mut theta = vec![1.0, -1.0];
        built.step(&mut theta, &vec![0.5, 0.25], entry.number("lr").unwrap()).unwrap();
        assert!(theta != [1.0, -1.0] && theta.iter().all(|x| x.is_finite()), "{}", entry.name);
    }
}

#[test]
fn refusals_name_method_key_finding_and_requirement() {
    let sgd = find(optimizer::entries(), "sgd").unwrap();
    let cases: [(&str, Value, &str); 6] = [
        ("momentun", 0.9.into(), "sgd: `momentun` = 0.9: its keys are lr, momentum, nesterov, weight_decay"),
        ("momentum", 1.0.into(), "sgd: `momentum` = 1.0: must lie in [0, 1)"),
        ("momentum", f64::NAN.into(), "sgd: `momentum` = NaN: must lie in [0, 1)"),
        ("lr", 0.0.into(), "sgd: `lr` = 0.0: must be positive and finite"),
        ("weight_decay", (-1.0).into(), "sgd: `weight_decay` = -1.0: must be 0 or larger, and finite"),
        ("nesterov", 1.0.into(), "sgd: `nesterov` = 1.0: expected true or false"),
    ];
    for (key, value, expected) in cases {
        assert_eq!(sgd.values([(key, value)]).unwrap_err().to_string(), expected);
    }
    let together = [("nesterov", true.into()), ("momentum", 0.0.into())];
    let error = sgd.values(together).unwrap_err().to_string();
    assert_eq!(error, "sgd: `nesterov` = true: needs a momentum above 0");
    assert!(gnr_core::Sgd::<Vec<f64>>::with([("momentum", 0.5.into())]).is_ok());
}

#[test]
fn a_key_without_default_is_asked_for() {
    const KEYS: &[Key] = &[
        Key::required("radius", Domain::Number(Interval::POSITIVE), "the radius"),
        Key::absent("every", Domain::Integer(1), "the period"),
    ];
    let entry = Entry { name: "mine", keys: KEYS, ..**find(optimizer::entries(), "adam").as_ref().unwrap() };
    match entry.values([]) {
        Err(Error::Setting { key, found, requirement, .. }) => {
            assert_eq!((&*key, &*found, &*requirement), ("radius", "nothing", "needed, a number"));
        }
        other => panic!("{other:?}"),
    }
    let values = entry.values([("radius", 0.5.into())]).unwrap();
    assert_eq!(values.number("radius").unwrap(), 0.5);
    assert_eq!(values.get("every"), None);
    let error = values.integer("every").unwrap_err().to_string();
    assert_eq!(error, "mine: `every` = nothing: expected a whole number");
}

#[test]
fn domains_say_what_they_contain() {
    let cases: [(Domain, Value, Option<&str>); 9] = [
        (Domain::Number(Interval::FRACTION), 1.0.into(), None),
        (Domain::Number(Interval::FRACTION), 0.0.into(), Some("must lie in (0, 1]")),
        (
            Domain::Number(Interval::NOT_NEGATIVE),
            f64::INFINITY.into(),
            Some("must be 0 or larger, and finite"),
        ),
        (Domain::Numbers(2, Interval::RATE), vec![0.9].into(), Some("expected two numbers")),
        (Domain::Numbers(2, Interval::RATE), [0.9, 1.0].into(), Some("both must lie in [0, 1)")),
        (Domain::Integer(1), 0_u64.into(), Some("must be at least 1")),
        (Domain::Integers, vec![3_u64].into(), None),
        (Domain::Choice(&["a", "b"]), "c".into(), Some("expected one of a, b")),
        (Domain::Choice(&["a", "b"]), "b".into(), None),
    ];
    for (domain, value, expected) in cases {
        assert_eq!(domain.check(&value).err().as_deref(), expected, "{domain}, {value}");
    }
}
