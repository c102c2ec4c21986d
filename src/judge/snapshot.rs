//! A version's windows and alarms as bytes, and back.
//!
//! ```text
//! format (1 byte), then sections: number, length, bytes
//!   1 windows over columns · 2 answers · 3 alarms of the columns · 4 what they have counted · 5 drift over time
//! ```
//! A section that is not known is passed over, so that a release can read what a later one wrote of the same format.
//!
//! Invariant: what cannot be read leaves what it would have replaced as it was.

use super::version::VersionWatch;
use crate::catalog::Model;
use crate::observe::codec::{Malformed, Reader, Writer};
use crate::store::SnapshotKey;
use std::hash::Hasher;
use std::time::Duration;
use twox_hash::XxHash64;

/// The format that is written, and the only one that is read.
const FORMAT: u8 = 2;

const WINDOWS: u64 = 1;
const ANSWERS: u64 = 2;
const ALARMS: u64 = 3;
const EVIDENCE: u64 = 4;
const HISTORY: u64 = 5;

impl VersionWatch {
    /// Everything that is to outlive the process.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.byte(FORMAT);
        writer.number(WINDOWS);
        writer.section(|writer| self.windows.encode(writer));
        writer.number(ANSWERS);
        writer.section(|writer| self.answers.encode(writer));
        writer.number(ALARMS);
        writer.section(|writer| self.columns.iter().for_each(|column| column.alarm.encode(writer)));
        writer.number(EVIDENCE);
        writer.section(|writer| self.evidence.encode(writer));
        writer.number(HISTORY);
        writer.section(|writer| self.history.encode(writer));
        writer.finish()
    }

    /// Takes over what a watch of the same version on the same profile had written before `at`. To be called before the
    /// first look.
    ///
    /// # Errors
    /// [`Malformed`] when a part of it cannot be read; what came before that part is taken over.
    pub fn restore(&mut self, bytes: &[u8], at: Duration) -> Result<(), Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != FORMAT {
            return Err(Malformed);
        }
        while !reader.is_empty() {
            let (kind, mut section) = (reader.number()?, reader.section()?);
            match kind {
                WINDOWS => self.windows.restore(&mut section, at)?,
                ANSWERS => self.answers.restore(&mut section, at)?,
                ALARMS => {
                    self.columns.iter_mut().try_for_each(|column| column.alarm.restore(&mut section))?;
                }
                EVIDENCE => self.evidence.restore(&mut section)?,
                HISTORY => self.history.restore(&mut section, at)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Under which key the snapshots of a version are kept. Edges decide what counters mean, so the profile is part of it,
/// or the signature where there is none.
pub(super) fn key_of(model: &Model, replica: &str) -> SnapshotKey {
    let mut hasher = XxHash64::with_seed(0);
    hasher.write(model.signature().describe_inputs().as_bytes());
    hasher.write(&[0]);
    hasher.write(model.signature().describe_outputs().as_bytes());
    let of_profile = model.profile.as_ref().ok().and_then(|profile| profile.fingerprint().ok());
    SnapshotKey {
        model: model.name.clone(),
        version: model.version,
        profile_hash: of_profile.unwrap_or_else(|| hasher.finish()),
        replica: replica.to_owned(),
    }
}
