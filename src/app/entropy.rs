//! The machine's randomness, handed to whoever needs some.

use ring::rand::{SecureRandom as _, SystemRandom};

/// The system's random source.
#[derive(Debug)]
pub struct Random(SystemRandom);

impl Default for Random {
    fn default() -> Self {
        Self(SystemRandom::new())
    }
}

impl Random {
    /// Fills a buffer.
    ///
    /// # Panics
    /// Where the system has no randomness: nothing that this program does is safe then.
    #[expect(clippy::panic, reason = "ids that repeat would double messages; to stop is the only safe answer")]
    pub fn fill(&self, bytes: &mut [u8]) {
        if self.0.fill(bytes).is_err() {
            panic!("the system gives no random bytes");
        }
    }

    /// A public id: 128 random bits as 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }
}
