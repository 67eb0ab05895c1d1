//! The client's two SCRAM messages (RFC 5802 §7), read strictly.

use crate::{base64, limits};

/// `client-first-message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientFirst {
    /// The whole gs2-header, which the final message repeats.
    pub(super) header: String,
    /// Whether it would act for somebody else.
    pub(super) for_another: bool,
    /// `n`, `y` or `p=NAME`.
    pub(super) binding: String,
    /// `client-first-message-bare`.
    pub(super) bare: String,
    /// Login name, `=2C` and `=3D` undone.
    pub(super) name: String,
    /// The client's nonce; the server's is appended to it.
    pub(super) nonce: String,
}

impl ClientFirst {
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let message = std::str::from_utf8(message).ok()?;
        let (binding, rest) = message.split_once(',')?;
        let (authzid, bare) = rest.split_once(',')?;
        let mut attributes = bare.split(',');
        let name = saslname(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        // Extensions may follow; a mandatory one ("m=") would have stood first.
        let authzid = if authzid.is_empty() { None } else { Some(saslname(authzid.strip_prefix("a=")?)?) };
        let for_another = authzid.is_some_and(|authzid| authzid != name);
        let header = message[..message.len() - bare.len()].to_owned();
        printable(nonce).then(|| Self {
            header,
            for_another,
            binding: binding.to_owned(),
            bare: bare.to_owned(),
            name,
            nonce: nonce.to_owned(),
        })
    }
}

/// `client-final-message`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFinal {
    /// What `c=` decodes to.
    pub(super) binding: Vec<u8>,
    /// Both nonces.
    pub(super) nonce: String,
    /// `client-final-message-without-proof`.
    pub(super) without_proof: String,
    /// ClientProof.
    pub(super) proof: [u8; 32],
}

impl ClientFinal {
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let message = std::str::from_utf8(message).ok()?;
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let binding = base64::decode(attributes.next()?.strip_prefix("c=")?.as_bytes())?;
        let nonce = attributes.next()?.strip_prefix("r=")?.to_owned();
        let proof = base64::decode(proof.as_bytes())?.try_into().ok()?;
        Some(Self { binding, nonce, without_proof: without_proof.to_owned(), proof })
    }
}

fn saslname(text: &str) -> Option<String> {
    if text.is_empty() || text.len() > limits::SASL_FIELD {
        return None;
    }
    let mut pieces = text.split('=');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        let (escaped, rest) = piece.split_at_checked(2)?;
        name.push(match escaped {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        name.push_str(rest);
    }
    (!name.contains('\0')).then_some(name)
}

fn printable(nonce: &str) -> bool {
    (1..=256).contains(&nonce.len()) && nonce.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b',')
}
