//! Signatures: how many are looked at, and each in its own time, so that one whose key does not come says nothing about
//! the others.

use mail_auth::{ArcOutput, AuthenticatedMessage, DkimOutput, DkimResult};

use super::outcomes::no_answer;
use super::{Verifier, all};
use crate::{header, limits};

/// A message once for each of its signatures, with that one alone; and once with those that are malformed.
pub(super) struct Each<'x>(Vec<AuthenticatedMessage<'x>>);

impl<'x> Each<'x> {
    pub(super) fn of(parsed: &AuthenticatedMessage<'x>) -> Self {
        let bare = AuthenticatedMessage { dkim_headers: Vec::new(), ..parsed.clone() };
        let one = |signature: &_| AuthenticatedMessage {
            dkim_headers: vec![Clone::clone(signature)],
            errors: Vec::new(),
            ..bare.clone()
        };
        let mut each: Vec<_> = parsed.dkim_headers.iter().map(one).collect();
        each.push(bare);
        Self(each)
    }
}

impl Verifier {
    pub(super) async fn dkim<'x>(&self, each: &'x Each<'x>) -> Vec<DkimOutput<'x>> {
        all(each.0.iter().map(|one| self.signature(one))).await.concat()
    }

    async fn signature<'x>(&self, one: &'x AuthenticatedMessage<'x>) -> Vec<DkimOutput<'x>> {
        let asked = self.authenticator.verify_dkim(one);
        let Some(signature) = one.dkim_headers.first().map(|field| &field.header) else { return asked.await };
        // Its domain stays known: only a signature that could be aligned leaves DMARC undecided.
        let unknown = || vec![DkimOutput::temp_err(no_answer()).with_signature(signature)];
        let failed =
            |outputs: &Vec<DkimOutput<'_>>| outputs.iter().any(|one| matches!(one.result(), DkimResult::TempError(_)));
        self.ask(&format!("key {} {}", signature.s, signature.d), asked, failed, unknown).await
    }

    pub(super) async fn arc<'x>(&self, parsed: Option<&'x AuthenticatedMessage<'x>>) -> ArcOutput<'x> {
        let Some((parsed, last)) = parsed.and_then(|parsed| Some((parsed, &parsed.ams_headers.last()?.header))) else {
            return ArcOutput::default();
        };
        let unknown = || ArcOutput::default().with_result(DkimResult::TempError(no_answer()));
        let failed = |output: &ArcOutput<'_>| matches!(output.result(), DkimResult::TempError(_));
        let asked = self.authenticator.verify_arc(parsed);
        self.ask(&format!("arc {} {}", last.s, last.d), asked, failed, unknown).await
    }
}

/// Parsing hashes the body once for each way in which a signature wants it: of a large message that takes long,
/// and the runtime's other sessions must not wait.
pub(super) fn parse(message: &[u8]) -> Option<AuthenticatedMessage<'_>> {
    const LARGE: usize = 256 * 1024;
    if message.len() < LARGE {
        AuthenticatedMessage::parse(message)
    } else {
        tokio::task::block_in_place(|| AuthenticatedMessage::parse(message))
    }
}

fn is_signature(field: &header::Field<'_>) -> bool {
    ["DKIM-Signature", "ARC-Message-Signature", "ARC-Seal", "DKIM2-Signature", "Message-Instance"]
        .iter()
        .any(|name| field.is(name))
}

/// Each signature may want the body hashed in a way of its own: with thousands of them one message would keep a
/// core busy for hours.
pub(super) fn too_many_signatures(message: &[u8]) -> bool {
    header::fields(message).filter(is_signature).count() > limits::SIGNATURES
}

/// The header without signatures: enough for SPF and DMARC.
pub(super) fn without_signatures(message: &[u8]) -> Vec<u8> {
    let mut reduced = Vec::new();
    for field in header::fields(message).filter(|field| !is_signature(field)) {
        reduced.extend_from_slice(&message[field.at]);
    }
    reduced.extend_from_slice(b"\r\n");
    reduced
}
