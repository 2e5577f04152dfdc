//! Tokens and scopes: what is taken, what is refused, and by which word.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use ring::hmac;
use rovercast_protocol::signaling::ErrorCode;
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"for tests alone: everybody has it";
const ED25519: &[u8] = include_bytes!("../../tests/keys/ed25519.pem");
const ED25519_PUBLIC: &[u8] = include_bytes!("../../tests/keys/ed25519.pub.pem");
const OTHER_ED25519: &[u8] = include_bytes!("../../tests/keys/other-ed25519.pem");
const P256: &[u8] = include_bytes!("../../tests/keys/p256.pem");
const P256_PUBLIC: &[u8] = include_bytes!("../../tests/keys/p256.pub.pem");

fn key(id: &str, algorithm: Algorithm, file: &[u8]) -> Key {
    Key::new(id, algorithm, file).unwrap()
}

/// A broker with a key of each algorithm.
fn verifier() -> Verifier {
    Verifier::new(vec![
        key("hs", Algorithm::Hs256, SECRET),
        key("ed", Algorithm::EdDsa, ED25519_PUBLIC),
        key("es", Algorithm::Es256, P256_PUBLIC),
    ])
}

/// What most tokens say.
fn claims() -> Value {
    json!({"sub": "anna", "scope": "view:rover-1 control:rover-1", "iat": NOW, "exp": NOW + 60})
}

/// The usual claims, but for these; null takes one out.
fn claims_but(others: Value) -> Value {
    let mut claims = claims();
    let all = claims.as_object_mut().unwrap();
    all.extend(others.as_object().unwrap().clone());
    all.retain(|_, value| !value.is_null());
    claims
}

fn sign(id: &str, algorithm: Algorithm, file: &[u8], claims: &Value) -> String {
    SigningKey::new(id, algorithm, file).unwrap().sign(claims).unwrap()
}

fn hs256(claims: &Value) -> String {
    sign("hs", Algorithm::Hs256, SECRET, claims)
}

/// A token written by hand, which signs what it likes with what it likes.
fn hand_made(header: &Value, claims: &Value, secret: Option<&[u8]>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = secret
        .map(|secret| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes()));
    let signature = signature.map_or(String::new(), |tag| URL_SAFE_NO_PAD.encode(tag));
    format!("{message}.{signature}")
}

#[test]
fn scopes_allow_what_they_say_and_nothing_else() {
    // Scope, robot, and whether it allows: publish, view, its camera `front`, all cameras, control.
    const NO: [bool; 5] = [false; 5];
    for (scope, robot, allowed) in [
        ("publish:rover-1", Some("rover-1"), [true, false, false, false, false]),
        ("publish:rover-1", Some("rover-10"), NO),
        ("publish:rover-1", Some("Rover-1"), NO),
        ("publish:rover-1", None, NO),
        ("publish:rover-*", Some("rover-10"), [true, false, false, false, false]),
        ("publish:rover-*", Some("rover-"), [true, false, false, false, false]),
        ("publish:rover-*", Some("a-rover-1"), NO),
        ("publish:rover-*", None, NO),
        ("publish:*", None, [true, false, false, false, false]),
        ("view:rover-1", Some("rover-1"), [false, true, true, true, false]),
        ("view:rover-1", Some("rover-2"), NO),
        ("view:rover-1/*", Some("rover-1"), [false, true, true, true, false]),
        ("view:rover-1/front", Some("rover-1"), [false, true, true, false, false]),
        ("view:rover-1/fr*", Some("rover-1"), [false, true, true, false, false]),
        ("view:rover-1/rear", Some("rover-1"), [false, true, false, false, false]),
        ("view:rover-1/front", Some("rover-2"), NO),
        ("view:*/front", Some("rover-2"), [false, true, true, false, false]),
        ("view:*/front", None, [false, true, true, false, false]),
        ("view:*", None, [false, true, true, true, false]),
        ("view:r*", None, NO),
        ("view:a/x view:rover-1/front", Some("rover-1"), [false, true, true, false, false]),
        ("control:rover-1", Some("rover-1"), [false, false, false, false, true]),
        ("control:*", None, [false, false, false, false, true]),
        ("metrics", Some("metrics"), NO),
        ("", Some("rover-1"), NO),
        ("*", Some("rover-1"), NO),
        ("view", Some("rover-1"), NO),
        ("view:", Some(""), NO),
        ("view:/front", Some("rover-1"), NO),
        ("view:rover-1/", Some("rover-1"), NO),
        ("view:rover-1/front/rear", Some("rover-1"), NO),
        ("view:**", Some("rover-1"), NO),
        ("view:*-1", Some("rover-1"), NO),
        ("view:ro*er-1", Some("rover-1"), NO),
        ("publish:rover-1/front", Some("rover-1"), NO),
        ("VIEW:rover-1", Some("rover-1"), NO),
        ("view:rover-1,rover-2", Some("rover-1"), NO),
        ("openid view:rover-1\tprofile", Some("rover-1"), [false, true, true, true, false]),
    ] {
        let grant = Grant::new("anna", NOW, scope);
        let found = [
            grant.may_publish(robot),
            grant.may_view(robot),
            grant.may_view_camera(robot, "front"),
            grant.views_all_cameras(robot),
            grant.may_control(robot),
        ];
        assert_eq!(found, allowed, "{scope:?} and {robot:?}");
        assert_eq!(grant.may_scrape(), scope == "metrics", "{scope:?}");
    }
}

#[test]
fn without_keys_everything_is_allowed() {
    let open = Grant::open();
    assert!(open.is_open() && open.may_scrape());
    assert_eq!((open.subject(), open.expires_at()), (None, None));
    for robot in [None, Some("rover-1")] {
        assert!(open.may_publish(robot) && open.may_control(robot) && open.may_view(robot));
        assert!(open.may_view_camera(robot, "front") && open.views_all_cameras(robot));
    }
    let limited = Grant::new("anna", NOW, "view:*");
    assert!(!limited.is_open());
    assert_ne!(open, limited);
    assert_eq!(limited, limited.clone());
    assert_ne!(limited, Grant::new("bert", NOW, "view:*"));
}

#[test]
fn slips_in_scopes_are_told_where_somebody_looks() {
    assert!(Grant::strict("anna", NOW, " view:a  publish:b/ ").is_err());
    let said = Grant::strict("anna", NOW, "view:a veiw:b").unwrap_err().to_string();
    assert!(said.contains("veiw:b") && said.contains("view:ROBOT/CAMERA"), "{said}");
    let long = "x".repeat(100_000);
    assert!(Grant::strict("anna", NOW, &long).unwrap_err().to_string().len() < 400);
    let strict = Grant::strict("anna", NOW, "view:a metrics").unwrap();
    assert_eq!(strict, Grant::new("anna", NOW, "view:a metrics"));
}

#[test]
fn tokens_of_every_algorithm_are_taken() {
    for (id, algorithm, file) in [
        ("hs", Algorithm::Hs256, SECRET),
        ("ed", Algorithm::EdDsa, ED25519),
        ("es", Algorithm::Es256, P256),
    ] {
        let grant = verifier().verify(&sign(id, algorithm, file, &claims()), NOW).unwrap();
        assert_eq!(grant, Grant::new("anna", NOW + 60, "view:rover-1 control:rover-1"), "{id}");
        assert_eq!((grant.subject(), grant.expires_at()), (Some("anna"), Some(NOW + 60)));
    }
    // A token that names no key is tried with all of its algorithm.
    let two = Verifier::new(vec![
        key("old", Algorithm::Hs256, b"an old one that will go in a month"),
        key("hs", Algorithm::Hs256, SECRET),
    ]);
    let nameless = hand_made(&json!({"alg": "HS256"}), &claims(), Some(SECRET));
    assert!(two.verify(&nameless, NOW).is_ok());
    assert_eq!(two.verify(&hs256(&claims()), NOW), two.verify(&nameless, NOW));
    // A secret's file may end with a line end.
    let line = [SECRET, b"\r\n"].concat();
    let same = Verifier::new(vec![key("hs", Algorithm::Hs256, &line)]);
    assert!(same.verify(&hs256(&claims()), NOW).is_ok());
}

/// The examples of RFC 7515 (A.1 and A.3), which others signed. They lack a `sub`; nobody would get to
/// know that if their signatures were wrong.
#[test]
fn signatures_of_others_are_understood() {
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1\
                  Z9CAow";
    let secret = URL_SAFE_NO_PAD.decode(secret).unwrap();
    let public_key = b"-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7
6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
-----END PUBLIC KEY-----
";
    let verifier = Verifier::new(vec![
        key("hs", Algorithm::Hs256, &secret),
        key("es", Algorithm::Es256, public_key),
    ]);
    let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb29\
                   0Ijp0cnVlfQ";
    for (header, signature) in [
        ("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        (
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ] {
        let token = format!("{header}.{payload}.{signature}");
        assert_eq!(verifier.verify(&token, NOW), Err(Denied::Claims), "{header}");
        let other = format!("{header}.{payload}x.{signature}");
        assert_eq!(verifier.verify(&other, NOW), Err(Denied::Forged), "{header}");
    }
}

#[test]
fn times_are_kept() {
    let verify = |others: Value, now: u64| verifier().verify(&hs256(&claims_but(others)), now);
    assert!(verify(json!({}), NOW + 59).is_ok());
    assert_eq!(verify(json!({}), NOW + 60), Err(Denied::Expired));
    assert_eq!(verify(json!({"exp": 0}), NOW), Err(Denied::Expired));
    assert_eq!(verify(json!({"exp": NOW as f64 + 0.5}), NOW), Err(Denied::Expired));
    // The clocks of two computers differ a little.
    assert!(verify(json!({"nbf": NOW + 30}), NOW).is_ok());
    assert_eq!(verify(json!({"nbf": NOW + 31}), NOW), Err(Denied::NotYet));
    assert!(verify(json!({"nbf": NOW + 31}), NOW + 1).is_ok());
    assert!(verify(json!({"iat": NOW + 3_600}), NOW).is_ok());
    assert_eq!(verify(json!({"exp": 1e300, "nbf": 1e300}), u64::MAX - 1).unwrap_err().code(), {
        ErrorCode::Unauthorized
    });
}

#[test]
fn claims_that_will_not_do_are_refused() {
    for others in [
        json!({"exp": null}),
        json!({"exp": "tomorrow"}),
        json!({"exp": -1}),
        json!({"exp": {}}),
        json!({"nbf": "today"}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sub": "anna\nof the log"}),
        json!({"sub": "x".repeat(129)}),
        json!({"scope": ["view:*"]}),
        json!({"aud": "another service"}),
    ] {
        let found = verifier().verify(&hs256(&claims_but(others.clone())), NOW);
        assert_eq!(found, Err(Denied::Claims), "{others}");
    }
    let twice = r#"{"sub":"anna","sub":"root","scope":"view:*","exp":1900000000}"#;
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
        URL_SAFE_NO_PAD.encode(twice)
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
    assert_eq!(verifier().verify(&token, NOW), Err(Denied::Claims));
    // Without scopes it is a token, which allows nothing.
    let grant = verifier().verify(&hs256(&claims_but(json!({"scope": null}))), NOW).unwrap();
    assert_eq!(grant, Grant::new("anna", NOW + 60, ""));
}

#[test]
fn foreign_signatures_are_refused() {
    let verify = |token: &str| verifier().verify(token, NOW);
    let other_secret = b"another secret, of somebody else's broker";
    for (token, denied) in [
        (sign("hs", Algorithm::Hs256, other_secret, &claims()), Denied::Forged),
        (sign("ed", Algorithm::EdDsa, OTHER_ED25519, &claims()), Denied::Forged),
        // Named keys are the only ones tried, and only for what they are for.
        (sign("ed", Algorithm::Hs256, SECRET, &claims()), Denied::UnknownKey),
        (sign("of yore", Algorithm::Hs256, SECRET, &claims()), Denied::UnknownKey),
        (hand_made(&json!({"alg": "HS256"}), &claims(), None), Denied::Forged),
        (hand_made(&json!({"alg": "HS256"}), &claims(), Some(b"")), Denied::Forged),
    ] {
        assert_eq!(verify(&token), Err(denied), "{token}");
    }
    // An expired one that is forged, too, is no better than forged.
    let expired = claims_but(json!({"exp": 1}));
    let forged = sign("hs", Algorithm::Hs256, other_secret, &expired);
    assert_eq!(verify(&forged), Err(Denied::Forged));
}

#[test]
fn unsigned_tokens_are_refused() {
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        for secret in [None, Some(SECRET)] {
            let token = hand_made(&json!({"typ": "JWT", "alg": alg}), &claims(), secret);
            assert_eq!(verifier().verify(&token, NOW), Err(Denied::Malformed), "{alg}");
        }
    }
    let token = hand_made(&json!({"typ": "JWT"}), &claims(), Some(SECRET));
    assert_eq!(verifier().verify(&token, NOW), Err(Denied::Malformed));
}

/// The attack: a public key, which everybody may have, taken for the secret of HS256.
#[test]
fn a_public_key_is_no_secret() {
    let der = {
        use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
        SubjectPublicKeyInfoDer::from_pem_slice(ED25519_PUBLIC).unwrap().to_vec()
    };
    let raw = &der[12..];
    for public in [Verifier::new(vec![key("ed", Algorithm::EdDsa, ED25519_PUBLIC)]), verifier()] {
        for secret in [ED25519_PUBLIC, ED25519_PUBLIC.trim_ascii_end(), &der, raw] {
            for header in [json!({"alg": "HS256", "kid": "ed"}), json!({"alg": "HS256"})] {
                let token = hand_made(&header, &claims(), Some(secret));
                assert!(public.verify(&token, NOW).is_err(), "{header}");
            }
            let token = hand_made(&json!({"alg": "EdDSA", "kid": "ed"}), &claims(), Some(secret));
            assert_eq!(public.verify(&token, NOW), Err(Denied::Forged));
        }
    }
    // Nor can it be configured to be one.
    let error = Key::new("ed", Algorithm::Hs256, ED25519_PUBLIC).unwrap_err();
    assert!(matches!(error, BadKey::NoSecret { .. }), "{error}");
}

#[test]
fn algorithms_that_were_not_asked_for_are_refused() {
    for alg in ["HS384", "HS512", "RS256", "PS256", "ES384"] {
        let token = hand_made(&json!({"alg": alg}), &claims(), Some(SECRET));
        assert_eq!(verifier().verify(&token, NOW), Err(Denied::UnknownKey), "{alg}");
    }
}

/// A token may bring a key along. That key proves nothing.
#[test]
fn keys_in_tokens_are_passed_over() {
    let header = json!({
        "alg": "HS256",
        "jwk": {"kty": "oct", "k": URL_SAFE_NO_PAD.encode("mine")},
        "jku": "https://evil.example/keys",
    });
    let token = hand_made(&header, &claims(), Some(b"mine"));
    assert_eq!(verifier().verify(&token, NOW), Err(Denied::Forged));
}

#[test]
fn critical_extensions_are_refused() {
    let header = json!({"alg": "HS256", "crit": ["exp"]});
    let token = hand_made(&header, &claims(), Some(SECRET));
    assert_eq!(verifier().verify(&token, NOW), Err(Denied::Critical));
}

#[test]
fn garbage_and_giants_are_refused() {
    let verify = |token: &str| verifier().verify(token, NOW);
    let good = hs256(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    for garbage in [
        "".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        "ä.ö.ü".to_owned(),
        message.to_owned(),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!(" {good}"),
        format!("{}.e30.e30", "W10".repeat(300)),
    ] {
        assert_eq!(verify(&garbage), Err(Denied::Malformed), "{garbage}");
    }
    // Good but for their length, so that it is the length that is refused.
    let fitting = (0..4_096).rev().map(|n| hs256(&claims_but(json!({"x": "x".repeat(n)}))));
    let fitting = fitting.into_iter().find(|token| token.len() <= 4_096).unwrap();
    assert!(verify(&fitting).is_ok());
    let huge = hs256(&claims_but(json!({"x": "x".repeat(4_096)})));
    assert_eq!(verify(&huge), Err(Denied::TooLong));
    assert_eq!(verify(&"[".repeat(10_000_000)), Err(Denied::TooLong));
    let deep = URL_SAFE_NO_PAD.encode("[".repeat(2_000));
    assert_eq!(verify(&format!("{deep}.e30.e30")), Err(Denied::Malformed));
}

#[test]
fn refusals_have_codes_and_no_tokens() {
    assert_eq!(Denied::Expired.code(), ErrorCode::TokenExpired);
    for denied in [Denied::Missing, Denied::Forged, Denied::NotYet, Denied::UnknownKey] {
        assert_eq!(denied.code(), ErrorCode::Unauthorized);
    }
    assert!(Denied::Missing.to_string().contains("#token="));
}

#[test]
fn keys_that_will_not_do_say_so() {
    let said = |algorithm, file| Key::new("k", algorithm, file).unwrap_err().to_string();
    assert!(said(Algorithm::Hs256, b"hunter2\n\n").contains("7 bytes"));
    assert!(!said(Algorithm::Hs256, b"hunter2").contains("hunter2"));
    for wrong in [&b""[..], SECRET, ED25519, P256_PUBLIC] {
        assert!(said(Algorithm::EdDsa, wrong).contains("openssl pkey"));
    }
    for wrong in [&b""[..], SECRET, P256, ED25519_PUBLIC] {
        assert!(said(Algorithm::Es256, wrong).contains("openssl pkey"));
    }
    let said = |algorithm, file| SigningKey::new("k", algorithm, file).unwrap_err().to_string();
    assert!(said(Algorithm::EdDsa, P256).contains("-algorithm ed25519"));
    assert!(said(Algorithm::Es256, ED25519).contains("P-256"));
    assert!(said(Algorithm::Es256, P256_PUBLIC).contains("P-256"));
    let long = "x".repeat(65);
    for id in ["", &long] {
        assert!(matches!(Key::new(id, Algorithm::Hs256, SECRET), Err(BadKey::Id { .. })));
    }
}

#[test]
fn settings_name_the_file_of_each_key() {
    let read = |text: &str| rovercast_protocol::settings::parse::<AccessSettings>("x.toml", text);
    let settings = read(
        "keys = [{ id = \"a\", algorithm = \"HS256\", secret_file = \"s\" },
                 { id = \"b\", algorithm = \"EdDSA\", public_key_file = \"p\" }]",
    );
    let settings = settings.unwrap();
    assert!(settings.check().is_ok());
    assert_eq!(settings.keys[0].file().unwrap(), KeyFile::Secret("s".as_ref()));
    assert_eq!(settings.keys[1].file().unwrap(), KeyFile::Public("p".as_ref()));
    for (wrong, remedy) in [
        ("algorithm = \"HS256\"", "wants secret_file"),
        ("algorithm = \"HS256\"\npublic_key_file = \"p\"", "wants secret_file"),
        ("algorithm = \"ES256\"\nsecret_file = \"s\"", "wants public_key_file"),
        ("algorithm = \"ES256\"\nsecret_file = \"s\"\npublic_key_file = \"p\"", "nothing else"),
    ] {
        let settings = read(&format!("[[keys]]\nid = \"a\"\n{wrong}\n")).unwrap();
        let said = settings.keys[0].file().unwrap_err().to_string();
        assert!(said.contains(remedy), "{said}");
    }
    let said = read("[[keys]]\nid = \"a\"\nalgorithm = \"none\"\n").unwrap_err().to_string();
    assert!(said.starts_with("x.toml:3: ") && said.contains("HS256"), "{said}");
    let key = settings.keys[0].clone();
    let twice = AccessSettings { keys: vec![key.clone(), key] };
    assert!(matches!(twice.check(), Err(BadKey::Twice { .. })));
    assert_eq!(read("").unwrap(), AccessSettings::default());
}

#[test]
fn secrets_are_not_in_debug_output() {
    let text = String::from_utf8(SECRET.to_vec()).unwrap();
    let bytes = format!("{SECRET:?}");
    for said in [
        format!("{:?}", verifier()),
        format!("{:?}", SigningKey::new("hs", Algorithm::Hs256, SECRET)),
    ] {
        let leaks = said.contains(&text) || said.contains(bytes.trim_matches(['[', ']']));
        assert!(!leaks && said.contains("\"hs\""), "{said}");
    }
}

proptest! {
    #[test]
    fn scopes_never_panic(text in "\\PC*|[a-z:/* .-]*", robot in "\\PC*", camera in "\\PC*") {
        let grant = Grant::new("anna", NOW, &text);
        // One who may view a camera may view the robot.
        for robot in [None, Some(robot.as_str())] {
            prop_assert!(!grant.views_all_cameras(robot) || grant.may_view_camera(robot, &camera));
            prop_assert!(!grant.may_view_camera(robot, &camera) || grant.may_view(robot));
        }
        // What is no scope allows nothing.
        for word in text.split_ascii_whitespace() {
            let allows = Grant::new("anna", NOW, word) != Grant::new("anna", NOW, "");
            prop_assert_eq!(allows, Grant::strict("anna", NOW, word).is_ok());
        }
    }

    #[test]
    fn tokens_never_panic(text in "\\PC*|[a-zA-Z0-9._-]*") {
        prop_assert!(verifier().verify(&text, NOW).is_err());
    }

    #[test]
    fn whatever_changes_a_token_voids_it(at in any::<prop::sample::Index>(), to in "[!-~]") {
        for (id, algorithm, file) in
            [("hs", Algorithm::Hs256, SECRET), ("ed", Algorithm::EdDsa, ED25519)]
        {
            let token = sign(id, algorithm, file, &claims());
            let at = at.index(token.len());
            let mut changed = token.clone();
            changed.replace_range(at..=at, &to);
            prop_assert_eq!(verifier().verify(&changed, NOW).is_ok(), changed == token);
        }
    }
}
