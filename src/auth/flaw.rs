//! What exactly is wrong with a token: for the operator's log and for `token inspect`. Clients are
//! told one code for all of it.
//!
//! Invariant: nothing of a token or key is in it but the names of claims and of configured keys.

use jsonwebtoken::Algorithm;

/// The check that a token failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It has more than `TOKEN_BYTES`.
    TooLong,
    /// It is not three parts in base64url of which the first is a JSON header, or its algorithm is
    /// not known here (`none` among them).
    NoToken,
    /// Its header names extensions that have to be understood (`crit`).
    Critical,
    /// No configured key checks its algorithm, or none that its header calls by name (`kid`).
    NoKey(Algorithm),
    /// The key named `key` does not fit, nor do `others` that were tried behind it.
    Signature { key: &'static str, others: usize },
    /// This claim has not the form that it must have.
    Claim(&'static str),
    /// What it says is not a JSON object.
    NoClaims,
    /// `aud` has not the configured audience.
    Audience,
    /// `iss` is not the configured issuer.
    Issuer,
    /// It is for another channel.
    Channel,
    /// It is for another user.
    User,
    /// It is for another client id.
    Client,
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Flaw::TooLong => "token: longer than a token may be",
            Flaw::NoToken => "token: no JSON Web Token with an algorithm that is known here",
            Flaw::Critical => {
                "token: its header asks for extensions (crit), and none is known here"
            }
            Flaw::NoKey(algorithm) => {
                return write!(
                    f,
                    "key: none is configured for {algorithm:?}, or none of the name in its header \
                     (kid)"
                );
            }
            Flaw::Signature { key, others: 0 } => {
                return write!(f, "signature: does not fit {key}");
            }
            Flaw::Signature { key, others } => {
                return write!(f, "signature: fits neither {key} nor {others} more keys");
            }
            Flaw::Claim(claim) => return write!(f, "claim: {claim} has not its form"),
            Flaw::NoClaims => "claims: no JSON object",
            Flaw::Audience => "audience: aud is not client.token_audience",
            Flaw::Issuer => "issuer: iss is not client.token_issuer",
            Flaw::Channel => "channel: the token is for another one",
            Flaw::User => "user: the token is for another one (sub)",
            Flaw::Client => "client: the token is for another one",
        };
        f.write_str(text)
    }
}
