//! Every operation of a pickle, as each protocol writes it; and what is said of pickles that are none.

use crate::{Budget, Malformed, Pickle, View, parse};

fn parsed(bytes: &[u8]) -> Result<Pickle<'_>, Malformed> {
    parse(bytes, &mut Budget::of(bytes.len() as u64))
}

#[test]
fn numbers_of_every_kind() {
    let cases: [(&[u8], i64); 12] = [
        (b"I-7\n.", -7),
        (b"L12345678901L\n.", 12_345_678_901),
        (b"J\xfe\xff\xff\xff.", -2),
        (b"J\xff\xff\xff\x7f.", i32::MAX as i64),
        (b"K\xff.", 255),
        (b"M\x00\x01.", 256),
        (b"\x8a\x00.", 0),
        (b"\x8a\x01\xff.", -1),
        (b"\x8a\x02\x00\xff.", -256),
        (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", i64::MAX),
        (b"\x8b\x02\0\0\0\x00\x01.", 256),
        (b"\x80\x04\x95\x03\0\0\0\0\0\0\0K\x05.", 5),
    ];
    for (bytes, expected) in cases {
        let pickle = parsed(bytes).unwrap();
        assert!(matches!(pickle.view(pickle.root()), View::Int(value) if value == expected), "{bytes:?}");
    }
    for (bytes, expected) in [(b"I01\n.", true), (b"I00\n.", false)] {
        let pickle = parsed(bytes).unwrap();
        assert!(matches!(pickle.view(pickle.root()), View::Bool(value) if value == expected));
    }
}

#[test]
fn bytes_of_every_protocol() {
    let cases: [&[u8]; 4] =
        [b"C\x02ab.", b"B\x02\0\0\0ab.", b"\x8e\x02\0\0\0\0\0\0\0ab.", b"\x96\x02\0\0\0\0\0\0\0ab."];
    for bytes in cases {
        let pickle = parsed(bytes).unwrap();
        assert!(matches!(pickle.view(pickle.root()), View::Bytes(b"ab")), "{bytes:?}");
    }
    let texts: [&[u8]; 4] = [b"S'ab'\n.", b"U\x02ab.", b"T\x02\0\0\0ab.", b"\x8d\x02\0\0\0\0\0\0\0ab."];
    for bytes in texts {
        let pickle = parsed(bytes).unwrap();
        let text = pickle.text(pickle.root()).unwrap();
        assert!(text.is("ab") && text.bytes()[..] == *b"ab" && (text.len(), text.is_empty()) == (2, false));
    }
}

/// The operations in which protocols differ, each building `[1, 2]` or `{1: 2}`.
#[test]
fn containers_of_every_protocol() {
    let lists: [&[u8]; 9] = [
        b"(I1\nI2\nl.",
        b"(lp0\nI1\naI2\na.",
        b"]q\0(K\x01K\x02e.",
        b"]\x94(K\x01K\x02e.",
        b"K\x01K\x02\x86.",
        b"(K\x01K\x02t.",
        b"\x8f\x94(K\x01K\x02\x90.",
        b"(K\x01K\x02\x91.",
        // A mark that is popped, a value that is, a memo by a large number.
        b"(0N0(K\x091K\x01r\xff\0\0\0K\x020K\x02\x86.",
    ];
    for bytes in lists {
        let pickle = parsed(bytes).unwrap();
        let items = pickle.items(pickle.root()).unwrap();
        let numbers: Vec<_> = items.iter().map(|&item| pickle.view(item)).collect();
        assert!(matches!(numbers[..], [View::Int(1), View::Int(2)]), "{bytes:?}: {numbers:?}");
    }
    let dictionaries: [&[u8]; 4] =
        [b"(K\x01K\x02d.", b"(dp0\nI1\nI2\ns.", b"}(K\x01K\x02u.", b"}\x94K\x01K\x02s."];
    for bytes in dictionaries {
        let pickle = parsed(bytes).unwrap();
        let View::Pairs(&[(key, value)]) = pickle.view(pickle.root()) else { panic!("{bytes:?}") };
        assert!(matches!((pickle.view(key), pickle.view(value)), (View::Int(1), View::Int(2))));
    }
}

#[test]
fn objects_of_every_protocol() {
    let objects: [&[u8]; 8] = [
        b"ca\nB\n(K\x01tR}b.",
        b"(ia\nB\nN0(K\x01ia\nB\n}b.",
        b"(ca\nB\nK\x01o}b.",
        b"ca\nB\nK\x01\x85\x81}b.",
        b"ca\nB\nK\x01\x85}\x92}b.",
        b"\x8c\x01a\x8c\x01B\x93K\x01\x85\x81}b.",
        b"ca\nB\nq\x010h\x01K\x01\x85R}b.",
        b"ca\nB\np7\n0g7\nK\x01\x85R}b.",
    ];
    for bytes in objects {
        let pickle = parsed(bytes).unwrap();
        let View::Object(object) = pickle.view(pickle.root()) else { panic!("{bytes:?}") };
        assert!(matches!(pickle.view(object.callable), View::Global(class) if class.of("a") == Some("B")));
        assert!(
            matches!(pickle.items(object.arguments), Some(&[one]) if matches!(pickle.view(one), View::Int(1)))
        );
        assert!(object.state.is_some());
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let cases: [(&[u8], usize, &str); 14] = [
        (b"", 0, "does not end"),
        (b"]", 1, "does not end"),
        (b"X\xff\xff\xff\xffab", 7, "does not end"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff", 9, "does not end"),
        (b"a.", 1, "nothing to work on"),
        (b"N(0.e", 4, ""),
        (b"K\x01(a.", 4, "nothing to work on"),
        (b"t.", 1, "no mark"),
        (b"N\x86.", 2, "too few items"),
        (b"}(Nu.", 4, "a key without a value"),
        (b"K\x01Na.", 4, "added to"),
        (b"g-1\n.", 4, "negative"),
        (b"Ix\n.", 3, "not written in digits"),
        (b"N}b.", 3, "not an object"),
    ];
    for (bytes, offset, words) in cases {
        match parsed(bytes) {
            Err(malformed) => {
                let told = malformed.to_string();
                assert!(told.contains(words) && malformed.offset == offset, "{bytes:?}: {told}");
            }
            Ok(_) => assert!(words.is_empty(), "{bytes:?} was read"),
        }
    }
}
