//! Channel names: special characters, personal channels, patterns.

use super::*;

#[test]
fn signs_of_names_are_checked() {
    let off = "user_limited_separator = \"\"\n[[namespace]]\nname = \"chat\"\n";
    let namespaces = load(off).expect("a good file").namespaces;
    assert_eq!(namespaces.is_listed("chat:#general", None), None);
    assert!(namespaces.channel("chat:#general").is_ok());
    let bad = [
        ("namespace_separator = \"::\"", "namespace_separator = \"::\" (line 1): must be one char"),
        ("private_prefix = \"p\"", "private_prefix = \"p\" (line 1): must be one character"),
        ("user_limited_separator = \",\"", "must be one character"),
        ("private_prefix = \" \"", "must be one character"),
        ("private_prefix = \"#\"", "private_prefix, user_limited_separator: must be different"),
        (
            "namespace_separator = \"\"\n[[namespace]]\nname = \"a\"",
            "namespace_separator, namespace: ",
        ),
        (
            "user_limited_separator = \"\"\n[client]\nuser_personal_channel = \"\"",
            "user_limited_separator, client.user_personal_channel: ",
        ),
        (
            "user_limited_separator = \"\"\n[[namespace]]\nname = \"a\"\nallow_user_limited = true",
            "user_limited_separator, a: allow_user_limited: ",
        ),
    ];
    for (text, told) in bad {
        let errors = load(text).expect_err(text);
        assert!(errors.iter().any(|error| error.contains(told)), "{text}: {errors:?}");
    }
}

#[test]
fn personal_channels_and_patterns_are_checked() {
    let of = |text: &str| load(text).expect("a good file").namespaces;
    assert_eq!(of("").personal, Personal::Off);
    let named = "[client]\nuser_personal_channel = \"me\"\n[[namespace]]\nname = \"me\"\n";
    assert_eq!(of(named).personal, Personal::Named("me".into()));
    assert_eq!(of("[client]\nuser_personal_channel = \"\"\n").personal, Personal::Unnamed);
    let nobody = load("[client]\nuser_personal_channel = \"you\"\n").unwrap_err();
    assert!(nobody[0].contains("the name of a namespace"), "{nobody:?}");

    let text = "[channel]\nchannel_regex = \"^a\"\n[[namespace]]\nname = \"n\"\n\
                channel_regex = \"^[0-9]+$\"\n[[namespace]]\nname = \"free\"\n";
    let namespaces = of(text);
    assert!(namespaces.channel("n:1").is_ok() && namespaces.channel("n:x").is_err());
    assert!(namespaces.channel("a").is_ok() && namespaces.channel("b").is_err());
    assert!(namespaces.channel("free:b").is_ok());
    for bad in ["(", "(a{1000}){1000}"] {
        let errors = load(&format!("[channel]\nchannel_regex = {bad:?}\n")).unwrap_err();
        assert!(errors[0].contains("channel_regex"), "{errors:?}");
    }
}
