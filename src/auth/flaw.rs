//! What exactly is wrong with a token, for the operator's log and `token inspect`. Clients receive
//! only a code.
//!
//! Invariant: it contains nothing of a token or key except names of claims and of configured keys.

use jsonwebtoken::Algorithm;

/// The check that a token failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It has more than `TOKEN_BYTES`.
    TooLong,
    /// It is not three parts in base64url with a JSON header first, or its algorithm is not
    /// supported (such as `none`).
    NoToken,
    /// Its header requires extensions (`crit`).
    Critical,
    /// No configured key is for its algorithm, or none has the name in its header (`kid`).
    NoKey(Algorithm),
    /// The signature does not match the key named `key`, nor `others` that were tried after it.
    Signature { key: &'static str, others: usize },
    /// This claim has the wrong form.
    Claim(&'static str),
    /// Its payload is not a JSON object.
    NoClaims,
    /// `aud` does not contain the configured audience.
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
            Flaw::TooLong => "token: too long",
            Flaw::NoToken => "token: not a JSON Web Token with a supported algorithm",
            Flaw::Critical => "token: its header asks for extensions (crit), and none is supported",
            Flaw::NoKey(algorithm) => {
                return write!(
                    f,
                    "key: none is configured for {algorithm:?}, or none of the name in its header \
                     (kid)"
                );
            }
            Flaw::Signature { key, others: 0 } => {
                return write!(f, "signature: does not match {key}");
            }
            Flaw::Signature { key, others } => {
                return write!(f, "signature: matches neither {key} nor {others} more keys");
            }
            Flaw::Claim(claim) => return write!(f, "claim: {claim} has the wrong form"),
            Flaw::NoClaims => "claims: not a JSON object",
            Flaw::Audience => "audience: aud is not client.token_audience",
            Flaw::Issuer => "issuer: iss is not client.token_issuer",
            Flaw::Channel => "channel: the token is for another one",
            Flaw::User => "user: the token is for another one (sub)",
            Flaw::Client => "client: the token is for another one",
        };
        f.write_str(text)
    }
}
