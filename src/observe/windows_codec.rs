//! Windows as bytes, and back.
//!
//! Each window is a section of its own with its length before it, so that a change of settings between writing and
//! reading costs the windows that changed and no others.
//!
//! Invariant: reading any bytes either restores windows that could have been written, or changes nothing.

use super::blocks::Blocks;
use super::codec::{Malformed, Reader, Writer};
use super::decay::Decayed;
use super::ring::Ring;
use super::seasons::Seasons;
use super::windows::Windows;
use std::time::Duration;

/// What comes out of a snapshot, before any of it counts.
struct Restored {
    total: Vec<u64>,
    total_sums: Vec<u64>,
    total_evidence: u64,
    began: Duration,
    primary: Option<Ring<u16>>,
    sliding: Vec<Ring<u32>>,
    blocks: Vec<Blocks>,
    decayed: Option<Decayed>,
    seasons: Option<Seasons>,
}

impl Windows {
    /// Writes all that is kept.
    pub fn encode(&self, writer: &mut Writer) {
        for shape in [self.plan.counters(), self.plan.groups(), self.plan.sums()] {
            writer.number(shape as u64);
        }
        self.total.iter().for_each(|&count| writer.number(count));
        self.total_sums.iter().for_each(|&sum| writer.signed(sum.cast_signed()));
        section(writer, self.primary.length(), |writer| self.primary.encode(writer));
        writer.number(self.sliding.len() as u64);
        for ring in &self.sliding {
            section(writer, ring.length(), |writer| ring.encode(writer));
        }
        writer.number(self.blocks.len() as u64);
        for blocks in &self.blocks {
            section(writer, blocks.length(), |writer| blocks.encode(writer));
        }
        section(writer, self.decayed.half_life(), |writer| self.decayed.encode(writer));
        writer.optional(self.seasons.as_ref(), |writer, seasons| seasons.encode(writer));
        writer.number(self.total_evidence);
        writer.time(self.began);
    }

    /// Takes over what windows over the same counters held that were written before `at`; what has aged out since is
    /// forgotten. To be called before the first reading: the recorder counts from zero, and the totals go on.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are not such windows'; these are then as they were.
    pub fn restore(&mut self, reader: &mut Reader<'_>, at: Duration) -> Result<(), Malformed> {
        let restored = self.read(reader)?;
        self.total = restored.total;
        self.total_sums = restored.total_sums;
        self.total_evidence = restored.total_evidence;
        self.began = restored.began;
        if let Some(primary) = restored.primary {
            self.primary = primary;
        }
        for ring in restored.sliding {
            replace(&mut self.sliding, ring, |left, right| left.length() == right.length());
        }
        for blocks in restored.blocks {
            replace(&mut self.blocks, blocks, |left, right| left.length() == right.length());
        }
        if let Some(decayed) = restored.decayed {
            self.decayed = decayed;
        }
        if self.seasons.is_some() && restored.seasons.is_some() {
            self.seasons = restored.seasons;
        }
        self.at = at;
        self.drop_future(at);
        self.age(at);
        Ok(())
    }

    /// A clock that was ahead when the bytes were written must not hold slices back until the time has come.
    fn drop_future(&mut self, at: Duration) {
        self.primary.drop_future(at);
        self.sliding.iter_mut().for_each(|ring| ring.drop_future(at));
        self.blocks.iter_mut().for_each(|blocks| blocks.drop_future(at));
        self.decayed.drop_future(at);
        if let Some(seasons) = &mut self.seasons {
            seasons.drop_future(at);
        }
    }

    fn read(&self, reader: &mut Reader<'_>) -> Result<Restored, Malformed> {
        let shape = [self.plan.counters(), self.plan.groups(), self.plan.sums()];
        for expected in shape {
            if reader.number()? != expected as u64 {
                return Err(Malformed);
            }
        }
        let [counters, groups, sums] = shape;
        let total = (0..counters).map(|_| reader.number()).collect::<Result<_, _>>()?;
        let total_sums = (0..sums).map(|_| reader.signed().map(i64::cast_unsigned)).collect::<Result<_, _>>()?;
        let primary = self.read_primary(reader)?;
        let sliding = many(reader, |length, section| {
            let Some(like) = self.sliding.iter().find(|ring| ring.length() == length) else { return Ok(None) };
            let mut ring = like.clone();
            ring.restore(section)?;
            Ok(Some(ring))
        })?;
        let blocks = many(reader, |length, section| {
            let mut blocks = Blocks::new(length, groups);
            blocks.restore(section)?;
            Ok(Some(blocks))
        })?;
        let (half_life, mut section) = (reader.time()?, reader.section()?);
        let mut decayed = Decayed::new(half_life, groups);
        decayed.restore(&mut section)?;
        let weeks = self.seasons.as_ref().map_or(1, Seasons::weeks);
        let seasons = reader.optional(|reader| {
            let mut seasons = Seasons::new(weeks, groups);
            seasons.restore(reader).map(|()| seasons)
        })?;
        let decayed = (half_life == self.decayed.half_life()).then_some(decayed);
        let (total_evidence, began) = (reader.number()?, reader.time()?);
        Ok(Restored { total, total_sums, total_evidence, began, primary, sliding, blocks, decayed, seasons })
    }

    fn read_primary(&self, reader: &mut Reader<'_>) -> Result<Option<Ring<u16>>, Malformed> {
        let (length, mut section) = (reader.time()?, reader.section()?);
        if length != self.primary.length() {
            return Ok(None);
        }
        let mut primary = self.primary.clone();
        primary.restore(&mut section)?;
        Ok(Some(primary))
    }
}

fn section(writer: &mut Writer, length: Duration, write: impl FnOnce(&mut Writer)) {
    writer.time(length);
    writer.section(write);
}

/// Reads sections with their lengths; what `read` has no use for is left out.
fn many<T>(
    reader: &mut Reader<'_>,
    read: impl Fn(Duration, &mut Reader<'_>) -> Result<Option<T>, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = reader.number()?;
    let mut all = Vec::new();
    for _ in 0..count {
        let (length, mut section) = (reader.time()?, reader.section()?);
        all.extend(read(length, &mut section)?);
    }
    Ok(all)
}

fn replace<T>(all: &mut [T], new: T, is_same: impl Fn(&T, &T) -> bool) {
    if let Some(old) = all.iter_mut().find(|old| is_same(old, &new)) {
        *old = new;
    }
}
