//! The engine's part of the control file: which checkpoint to recover from. Bytes: `docs/format.md`, "Control file".

use afterimage_log::Lsn;

use super::estimate::Speed;
use crate::codec::Reader;
use crate::error::{Error, Result};
use crate::limits::is_page_size;

const MAGIC: u64 = u64::from_le_bytes(*b"AFTRENG1");

/// What recovery reads first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EngineArea {
    /// Bytes a page.
    pub(crate) page_size: u32,
    /// The checkpoint's begin record: analysis starts here.
    pub(crate) checkpoint_lsn: Lsn,
    /// Redo starts here, or later.
    pub(crate) redo_lsn: Lsn,
    /// No record below this is needed, for redo or for undo, by a recovery from this checkpoint.
    pub(crate) scan_lsn: Lsn,
    /// How the last clean stop has left the pages; none before the first, or where an older version has made it.
    pub(crate) stop: Option<Stop>,
    /// How fast the last recoveries were, and before the first, as far as making the log has told; none if nothing has. Advice: a recovery does not ask.
    pub(crate) speed: Option<Speed>,
}

/// What tells the file `pages` of a clean stop from an older one: each page of that is sound, and was once the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    /// The stop's checkpoint, which page 0 bears for its LSN.
    pub(crate) lsn: Lsn,
    /// Pages in the file.
    pub(crate) pages: u64,
}

impl EngineArea {
    pub(crate) fn encode(&self) -> [u8; 512] {
        let mut area = [0; 512];
        area[..8].copy_from_slice(&MAGIC.to_le_bytes());
        area[8..12].copy_from_slice(&self.page_size.to_le_bytes());
        area[16..24].copy_from_slice(&self.checkpoint_lsn.get().to_le_bytes());
        area[24..32].copy_from_slice(&self.redo_lsn.get().to_le_bytes());
        area[32..40].copy_from_slice(&self.scan_lsn.get().to_le_bytes());
        if let Some(stop) = &self.stop {
            area[40..48].copy_from_slice(&stop.lsn.get().to_le_bytes());
            area[48..56].copy_from_slice(&stop.pages.to_le_bytes());
        }
        if let Some(speed) = &self.speed {
            area[56..60].copy_from_slice(&speed.permille.unwrap_or(0).to_le_bytes());
            area[60..64].copy_from_slice(&speed.fixed_micros.to_le_bytes());
            area[64..68].copy_from_slice(&speed.segment_micros.to_le_bytes());
        }
        area
    }

    pub(crate) fn decode(area: &[u8; 512]) -> Result<EngineArea> {
        let bad = |what: &str| Error::corruption("control", format!("the engine's part: {what}"));
        let mut reader = Reader::new(area);
        let mut number = || reader.u64().map_err(|e| bad(&e.to_string()));
        if number()? != MAGIC {
            return Err(bad("it is not an engine's"));
        }
        let page_size = number()? as u32;
        let lsn = |value: u64| Lsn::new(value).ok_or_else(|| bad("a position is missing"));
        let decoded = EngineArea {
            page_size,
            checkpoint_lsn: lsn(number()?)?,
            redo_lsn: lsn(number()?)?,
            scan_lsn: lsn(number()?)?,
            stop: match (Lsn::new(number()?), number()?) {
                (Some(lsn), pages) => Some(Stop { lsn, pages }),
                (None, _) => None,
            },
            speed: {
                let (both, segment_micros) = (number()?, number()? as u32);
                let (permille, fixed_micros) = (both as u32, (both >> 32) as u32);
                (both > 0).then_some(Speed {
                    fixed_micros,
                    segment_micros,
                    permille: Some(permille).filter(|permille| *permille > 0),
                })
            },
        };
        if !is_page_size(page_size as usize) {
            return Err(bad("the page size is not legal"));
        }
        if decoded.redo_lsn > decoded.checkpoint_lsn || decoded.scan_lsn > decoded.redo_lsn {
            return Err(bad("its positions are out of order"));
        }
        if (decoded.stop).is_some_and(|stop| stop.lsn > decoded.checkpoint_lsn) {
            return Err(bad("the last clean stop is behind the last checkpoint"));
        }
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let lsn = |value| Lsn::new(value).expect("not zero");
        let area = EngineArea {
            page_size: 8192,
            checkpoint_lsn: lsn(900),
            redo_lsn: lsn(800),
            scan_lsn: lsn(700),
            stop: Some(Stop {
                lsn: lsn(900),
                pages: 77,
            }),
            speed: Some(Speed {
                fixed_micros: 1234,
                segment_micros: 567,
                permille: Some(890),
            }),
        };
        assert_eq!(EngineArea::decode(&area.encode()).expect("decodes"), area);
        let older = EngineArea {
            stop: None,
            speed: None,
            ..area
        };
        assert_eq!(EngineArea::decode(&older.encode()).expect("decodes"), older);
        // A short recovery teaches what does not depend on the log, and no more.
        let short = EngineArea {
            speed: Some(Speed {
                fixed_micros: 1234,
                segment_micros: 567,
                permille: None,
            }),
            ..older
        };
        assert_eq!(EngineArea::decode(&short.encode()).expect("decodes"), short);
        let backwards = EngineArea {
            redo_lsn: lsn(901),
            ..area
        };
        let not_yet = EngineArea {
            checkpoint_lsn: lsn(899),
            ..area
        };
        for wrong in [backwards, not_yet] {
            assert!(
                EngineArea::decode(&wrong.encode())
                    .expect_err("refused")
                    .is_corruption()
            );
        }
        assert!(
            EngineArea::decode(&[0; 512])
                .expect_err("refused")
                .is_corruption()
        );
    }
}
