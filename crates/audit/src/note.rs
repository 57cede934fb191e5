//! Signed notes (C2SP signed-note) with ed25519, and checkpoints (C2SP tlog-checkpoint) in them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SecureRandom as _;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use tlog_tiles::Hash;

/// The algorithm's byte in key ids and encoded keys.
const ED25519_BYTE: u8 = 0x01;
const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";
/// What begins a signature's line.
const SIGNATURE_PREFIX: &str = "\u{2014} ";
/// The longest note that is read, bytes.
const MAX_NOTE_BYTES: usize = 64 * 1024;

/// Why a key or a note is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a key as signed-note writes it.
    #[error("expected a {expected}, found something else: {why}")]
    Key {
        /// Which form was expected.
        expected: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No randomness could be had.
    #[error("the system gave no randomness for a new key")]
    Randomness,
    /// Not a signed note.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// Nobody we know has signed it.
    #[error("not signed by {0}")]
    Unsigned(String),
    /// The signature is not of this text.
    #[error("the signature by {0} is not of this text: it was changed, or signed with another key")]
    Forged(String),
    /// Signed, but for another log.
    #[error("it is a checkpoint of the log {found}, expected {expected}")]
    Origin {
        /// The log it belongs to.
        found: String,
        /// The key's log.
        expected: String,
    },
}

/// What verifies: a name and a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

impl VerifyingKey {
    fn new(name: &str, public: [u8; 32]) -> Self {
        Self { name: name.to_owned(), id: id(name, &public), public }
    }

    /// Reads `<name>+<id>+<key>`.
    ///
    /// # Errors
    /// [`NoteError::Key`] for anything else.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let expected = "public key of the form NAME+ID+BASE64";
        let (name, id, public) = split_key(text.trim(), expected)?;
        let key = Self::new(name, public);
        if hex::encode(key.id) != id {
            return Err(NoteError::Key { expected, why: "its id does not fit its key" });
        }
        Ok(key)
    }

    /// The log's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells it from other keys: eight hexadecimal digits, as they stand in its text.
    pub fn id(&self) -> String {
        hex::encode(self.id)
    }

    /// The text of a note this key has signed.
    ///
    /// # Errors
    /// [`NoteError`] when it is none, or is not signed by this key.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Malformed("it is too long"));
        }
        let split = note.rfind("\n\n").ok_or(NoteError::Malformed("no blank line before the signatures"))?;
        let (text, signatures) = note.split_at_checked(split + 1).ok_or(NoteError::Malformed("it is cut"))?;
        let signatures = signatures.strip_prefix('\n').unwrap_or_default();
        if !signatures.ends_with('\n') {
            return Err(NoteError::Malformed("it does not end with a line"));
        }
        for line in signatures.lines() {
            let malformed = || NoteError::Malformed("a signature's line is none");
            let (name, signature) =
                line.strip_prefix(SIGNATURE_PREFIX).and_then(|line| line.split_once(' ')).ok_or_else(malformed)?;
            let signature = BASE64.decode(signature).map_err(|_| malformed())?;
            let (id, signature) = signature.split_first_chunk::<4>().ok_or_else(malformed)?;
            if name != self.name || *id != self.id {
                continue;
            }
            let public = UnparsedPublicKey::new(&ED25519, self.public);
            return match public.verify(text.as_bytes(), signature) {
                Ok(()) => Ok(text),
                Err(_) => Err(NoteError::Forged(self.name.clone())),
            };
        }
        Err(NoteError::Unsigned(self.to_string()))
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), encoded(&self.public))
    }
}

/// What signs. Never shown, never logged.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: [u8; 32],
    public: VerifyingKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public)
    }
}

impl SigningKey {
    /// A new key of that name.
    ///
    /// # Errors
    /// [`NoteError::Key`] when the name has white space or a plus, or is empty; [`NoteError::Randomness`].
    pub fn generate(name: &str) -> Result<Self, NoteError> {
        let mut seed = [0; 32];
        ring::rand::SystemRandom::new().fill(&mut seed).map_err(|_| NoteError::Randomness)?;
        Self::new(name, seed)
    }

    /// The key of a seed.
    ///
    /// # Errors
    /// [`NoteError::Key`] when the name has white space or a plus, or is empty.
    pub fn new(name: &str, seed: [u8; 32]) -> Result<Self, NoteError> {
        let expected = "name without white space and plus";
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c == '+') {
            return Err(NoteError::Key { expected, why: "the name can't stand in a note" });
        }
        let refused = || NoteError::Key { expected: "ed25519 seed", why: "it is refused" };
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| refused())?;
        let public: [u8; 32] = pair.public_key().as_ref().try_into().map_err(|_| refused())?;
        Ok(Self { pair, seed, public: VerifyingKey::new(name, public) })
    }

    /// Reads `PRIVATE+KEY+<name>+<id>+<seed>`.
    ///
    /// # Errors
    /// [`NoteError::Key`] for anything else.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let expected = "private key of the form PRIVATE+KEY+NAME+ID+BASE64";
        let missing = NoteError::Key { expected, why: "it does not begin so" };
        let (name, id, seed) = split_key(text.trim().strip_prefix(PRIVATE_PREFIX).ok_or(missing)?, expected)?;
        let key = Self::new(name, seed)?;
        if hex::encode(key.public.id) != id {
            return Err(NoteError::Key { expected, why: "its id does not fit its key" });
        }
        Ok(key)
    }

    /// As it is kept in a file. Secret.
    pub fn secret_text(&self) -> String {
        format!("{PRIVATE_PREFIX}{}+{}+{}", self.public.name, hex::encode(self.public.id), encoded(&self.seed))
    }

    /// What verifies its signatures.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// A key for another purpose, made of this one.
    pub(crate) fn derived(&self, purpose: &str) -> ring::hmac::Tag {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.seed);
        ring::hmac::sign(&key, purpose.as_bytes())
    }

    /// Signs a text that ends with a line.
    pub(crate) fn sign(&self, text: &str) -> String {
        let mut signature = self.public.id.to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n{SIGNATURE_PREFIX}{} {}\n", self.public.name, BASE64.encode(signature))
    }
}

fn encoded(key: &[u8; 32]) -> String {
    let mut bytes = vec![ED25519_BYTE];
    bytes.extend_from_slice(key);
    BASE64.encode(bytes)
}

/// The first four bytes of SHA-256 over name, line end, algorithm and key.
fn id(name: &str, public: &[u8; 32]) -> [u8; 4] {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update([b'\n', ED25519_BYTE]);
    hash.update(public);
    let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
    [a, b, c, d]
}

fn split_key<'a>(text: &'a str, expected: &'static str) -> Result<(&'a str, &'a str, [u8; 32]), NoteError> {
    let wrong = |why| NoteError::Key { expected, why };
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(wrong("it has not three parts"));
    };
    let key = BASE64.decode(key).map_err(|_| wrong("its key is not base64"))?;
    let key: [u8; 33] = key.try_into().map_err(|_| wrong("its key has not 33 bytes"))?;
    let [algorithm, key @ ..] = key;
    if algorithm != ED25519_BYTE {
        return Err(wrong("its key is not ed25519"));
    }
    Ok((name, id, key))
}

/// How many records a log held, and the root over them, as somebody signed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Records.
    pub size: u64,
    /// The root of their Merkle tree.
    pub root: Hash,
    /// The note, with its signature.
    pub note: String,
}

impl Checkpoint {
    pub(crate) fn sign(key: &SigningKey, size: u64, root: Hash) -> Self {
        Self { size, root, note: key.sign(&format!("{}\n{size}\n{root}\n", key.public().name())) }
    }

    /// Reads a checkpoint that `key` has signed.
    ///
    /// # Errors
    /// [`NoteError`] when it is not signed by it, or is none.
    pub fn open(note: &str, key: &VerifyingKey) -> Result<Self, NoteError> {
        let text = key.open(note)?;
        let body = tlog_tiles::Checkpoint::from_bytes(text.as_bytes())
            .map_err(|_| NoteError::Malformed("it is signed, but no checkpoint"))?;
        if body.origin() != key.name() {
            return Err(NoteError::Origin { found: body.origin().to_owned(), expected: key.name().to_owned() });
        }
        Ok(Self { size: body.size(), root: *body.hash(), note: note.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of golang.org/x/mod/sumdb/note, whose format C2SP signed-note is.
    const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn notes_are_signed_and_read_as_go_does() {
        let key = SigningKey::parse(SECRET).unwrap();
        assert_eq!(key.public().to_string(), PUBLIC);
        assert_eq!(key.secret_text(), SECRET);
        let text = NOTE.split_once("\n\n").map(|(text, _)| format!("{text}\n")).unwrap();
        assert_eq!(key.sign(&text), NOTE);
        assert_eq!(VerifyingKey::parse(PUBLIC).unwrap().open(NOTE).unwrap(), text);
    }

    #[test]
    fn a_changed_note_is_refused_wherever_it_is_changed() {
        let key = VerifyingKey::parse(PUBLIC).unwrap();
        for place in 0..NOTE.len() {
            let mut bytes = NOTE.as_bytes().to_vec();
            bytes[place] ^= 1;
            if let Ok(note) = String::from_utf8(bytes) {
                assert!(key.open(&note).is_err(), "byte {place}");
            }
        }
        assert!(key.open(&NOTE[..NOTE.len() - 1]).is_err());
    }

    #[test]
    fn another_key_of_the_same_name_is_refused() {
        let other = SigningKey::new("PeterNeumann", [7; 32]).unwrap();
        assert!(matches!(other.public().open(NOTE), Err(NoteError::Unsigned(_))));
    }

    #[test]
    fn a_checkpoint_of_another_log_is_refused() {
        let key = SigningKey::new("prod", [1; 32]).unwrap();
        let own = Checkpoint::sign(&key, 3, Hash([9; 32]));
        assert_eq!(Checkpoint::open(&own.note, key.public()).unwrap(), own);
        let foreign = key.sign(&format!("test\n3\n{}\n", Hash([9; 32])));
        assert!(matches!(Checkpoint::open(&foreign, key.public()), Err(NoteError::Origin { .. })));
        assert!(Checkpoint::open(&key.sign("prod\nhello\n"), key.public()).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused_and_a_secret_is_not_shown() {
        for text in ["", "a+b", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", SECRET] {
            assert!(VerifyingKey::parse(text).is_err(), "{text}");
        }
        assert!(SigningKey::new("a b", [0; 32]).is_err());
        let shown = format!("{:?}", SigningKey::parse(SECRET).unwrap());
        assert!(shown.contains("c74f20a3") && !shown.contains("AYEKFALV"), "{shown}");
    }
}
