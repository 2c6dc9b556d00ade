//! `corecast token`: makes tokens for tests, and shows what a token says and whether it is valid.
//!
//! Invariant: neither a secret nor a private key is ever printed.

use super::{Source, load};
use crate::auth::mint::Signer;
use crate::auth::{Auth, Refusal, Wanted};
use crate::clock::Now;
use crate::config::{Config, Flags};
use crate::http::date::Date;
use crate::{server, tell};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

const MINT_EXAMPLES: &str = "\
Examples:
  corecast token mint --config corecast.toml --user alice --ttl 1h
  corecast token mint --config corecast.toml --user alice --ttl 1h --channel '$news'
  corecast token mint --config corecast.toml --user alice --info '{\"name\":\"Alice\"}'
  corecast token mint --key private.pem --kid 2026 --claims '{\"sub\":\"alice\",\"channels\":[\"news\"]}'
  CORECAST_CLIENT_TOKEN_HMAC_SECRET=... corecast token mint --alg HS512 --user alice

Without --key it signs with client.token_hmac_secret of the configuration.";

const INSPECT_EXAMPLES: &str = "\
Examples:
  corecast token inspect --config corecast.toml eyJhbGciOi...
  corecast token mint --config corecast.toml --user alice | corecast token inspect --config corecast.toml -

Exit code 1: the token is not valid. Without a configuration only what it says is shown.";

#[derive(Subcommand)]
pub enum Token {
    /// Make a token
    #[command(after_help = MINT_EXAMPLES)]
    Mint(Mint),
    /// Show what a token says, and whether it is valid
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(Inspect),
}

#[derive(Args)]
pub struct Mint {
    #[command(flatten)]
    source: Source,
    /// Sign with this private key (PEM: RSA, P-256, P-384 or Ed25519)
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Signature: HS256, HS384, HS512, RS256, RS384, RS512, ES256, ES384, EdDSA
    #[arg(long, value_name = "ALG")]
    alg: Option<Algorithm>,
    /// Key id (kid), for servers that have several keys
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
    /// User id (claim sub)
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// How long it is valid: 90s, 10m, 1h, 7d; without this flag it never expires
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    ttl: Option<u64>,
    /// Make a subscription token for this channel
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,
    /// Information about the user that other clients receive (JSON)
    #[arg(long, value_name = "JSON", value_parser = json)]
    info: Option<Value>,
    /// More claims (a JSON object)
    #[arg(long, value_name = "JSON", value_parser = object)]
    claims: Option<Value>,
}

#[derive(Args)]
pub struct Inspect {
    #[command(flatten)]
    source: Source,
    /// The token; - reads it from standard input
    #[arg(value_name = "TOKEN")]
    token: String,
}

/// The text to print, and the exit code.
pub type Printed = Result<(String, ExitCode), ExitCode>;

fn seconds(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 24 * 3_600,
        _ => return Err("write a number and s, m, h or d".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "write a number and s, m, h or d".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "is too large".into())
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn object(text: &str) -> Result<Value, String> {
    match json(text)? {
        object @ Value::Object(_) => Ok(object),
        _ => Err("is not a JSON object".into()),
    }
}

fn failed(error: &str) -> ExitCode {
    tell::err(format_args!("token: {error}"));
    ExitCode::FAILURE
}

/// Makes a token.
pub fn mint(asked: Mint) -> Printed {
    let signer = signer(&asked)?;
    let mut claims = match asked.claims {
        Some(Value::Object(claims)) => claims,
        _ => Map::new(),
    };
    let now_s = server::now().unix_ms / 1_000;
    let named = [
        ("sub", asked.user.map(Value::from)),
        ("exp", asked.ttl.map(|ttl| Value::from(now_s.saturating_add(ttl)))),
        ("channel", asked.channel.map(Value::from)),
        ("info", asked.info),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            claims.insert(name.into(), value);
        }
    }
    let claims = Value::Object(claims).to_string();
    let token = signer.sign(asked.kid.as_deref(), &claims);
    token.map(|token| (token, ExitCode::SUCCESS)).map_err(|_| failed("cannot be signed"))
}

fn signer(asked: &Mint) -> Result<Signer, ExitCode> {
    let signer = if let Some(path) = &asked.key {
        let pem = std::fs::read(path)
            .map_err(|cause| failed(&format!("{} cannot be read: {cause}", path.display())))?;
        Signer::from_pem(asked.alg, &pem).map_err(|rule| format!("{} {rule}", path.display()))
    } else {
        let (config, _) = load(asked.source.clone(), Flags::default())?;
        let Some(secret) = config.client.tokens.hmac_secrets.first() else {
            return Err(failed("set client.token_hmac_secret, or give a private key with --key"));
        };
        Signer::from_secret(asked.alg.unwrap_or(Algorithm::HS256), secret.as_bytes())
    };
    signer.map_err(|error| failed(&error))
}

/// Shows what a token says, and whether the server would accept it.
pub fn inspect(asked: Inspect) -> Printed {
    let mut token = asked.token;
    if token == "-" {
        token.clear();
        std::io::stdin().read_to_string(&mut token).map_err(|_| failed("cannot be read"))?;
    }
    let token = token.trim();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, _] = parts[..] else {
        return Err(failed("is not a token: it does not have three parts"));
    };
    let (Some(header), Some(claims)) = (part(header), part(claims)) else {
        return Err(failed("is not a token: its parts are not JSON in base64url"));
    };
    let mut text = format!("header  {header}\nclaims  {claims}\n");
    for claim in in_milliseconds(&claims) {
        text += &format!(
            "warning: {claim} seems to be in milliseconds, but is read as seconds since 1970\n"
        );
    }
    if asked.source.config.is_none() && !asked.source.dev && !has_variables() {
        return Ok((text + "not checked: give --config", ExitCode::SUCCESS));
    }
    let (_, mut auth): (Config, Auth) = load(asked.source, Flags::default())?;
    let (verdict, code) = match judge(&mut auth, token, &claims, server::now()) {
        Ok(verdict) => (verdict, ExitCode::SUCCESS),
        Err(verdict) => (verdict, ExitCode::FAILURE),
    };
    Ok((text + &verdict, code))
}

fn part(text: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// The time claims that are thousands of years ahead.
fn in_milliseconds(claims: &Value) -> impl Iterator<Item = &'static str> {
    /// In seconds the year 5138, in milliseconds 1973.
    const FAR: f64 = 1e11;
    let is_far =
        |claim: &&str| claims.get(claim).and_then(Value::as_f64).is_some_and(|it| it > FAR);
    ["exp", "nbf", "iat", "expire_at"].into_iter().filter(is_far)
}

fn has_variables() -> bool {
    std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("CORECAST_"))
}

/// What the server would answer to the token.
fn judge(auth: &mut Auth, token: &str, claims: &Value, now: Now) -> Result<String, String> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or("");
    let ends = |expires_ms: Option<u64>| match expires_ms {
        None => "never expires".to_owned(),
        Some(ms) => format!(
            "expires {} (in {} min); SDKs renew it before then",
            Date::default().at(ms / 1_000),
            ms.saturating_sub(now.unix_ms) / 60_000
        ),
    };
    if claims.get("channel").is_some() {
        let (channel, user, client) = (text("channel"), text("sub"), text("client"));
        let wanted = Wanted { channel, user, client };
        return match auth.subscription(token, &wanted, now) {
            Ok(grant) => Ok(format!(
                "valid: user {user:?} may subscribe to {channel:?}; {}",
                ends(grant.expires_ms)
            )),
            Err(error) => {
                let code = error.subscription_error().parts().0;
                Err(format!("not valid, error {code}: {error}"))
            }
        };
    }
    match auth.connect(token, now) {
        Ok(it) => Ok(format!("valid: user {:?}; {}", it.user.as_str(), ends(it.expires_ms))),
        Err(error) => {
            let code = match error.refusal() {
                Refusal::Error(code) => format!("error {}", code.parts().0),
                Refusal::Disconnect(code) => format!("disconnect {}", code.parts().0),
            };
            Err(format!("not valid, {code}: {error}"))
        }
    }
}
