//! The frames of a log alone, as they stand: its payloads mean something to its owner only.

use super::kind::failure;
use crate::escape;
use crate::failure::Failure;
use crate::out::Out;
use afterimage_io::Io;
use afterimage_log::{Control, FrameKind, Log, Lsn, ScanFrame};
use serde_json::{Value, json};
use std::path::Path;

/// Prints every frame there is, also what is not durable (yet).
pub fn dump(
    io: &Io,
    dir: &Path,
    control: &Control,
    from: Option<Lsn>,
    limit: Option<u64>,
    images: bool,
    out: &mut Out,
) -> Result<(), Failure> {
    let mut scan = Log::scan(io, dir, control, from).map_err(|e| failure(e, dir))?;
    let mut shown = 0;
    if out.is_json() {
        out.bytes(b"{\n  \"frames\": [")?;
    } else {
        out.line(format!(
            "{:>14} {:>7}  {:<14} {:>16}",
            "LSN", "bytes", "kind", "time"
        ))?;
    }
    let mut ended = Ok(());
    while limit.is_none_or(|limit| shown < limit)
        && let Some(found) = scan.next()
    {
        let frame = match found {
            Ok(frame) => frame,
            Err(e) => {
                ended = Err(failure(e, dir));
                break;
            }
        };
        if out.is_json() {
            let comma = if shown == 0 { "" } else { "," };
            out.bytes(format!("{comma}\n    {}", document(&frame, images)).as_bytes())?;
        } else {
            out.bytes(&text(&frame, images))?;
        }
        shown += 1;
    }
    if out.is_json() {
        let end = scan
            .end()
            .map(|end| json!({ "lsn": end.lsn.get(), "reason": end.reason }));
        let end = end.unwrap_or(Value::Null);
        out.bytes(format!("\n  ],\n  \"count\": {shown},\n  \"end\": {end}\n}}\n").as_bytes())?;
    } else if let Some(end) = scan.end() {
        out.line(format!(
            "{:>14} the log ends here, or cannot be read on: {}",
            end.lsn, end.reason
        ))?;
    }
    ended
}

fn name(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Data => "record",
        FrameKind::Batch => "batch",
        FrameKind::Watermark => "watermark",
        FrameKind::Pad => "pad",
        FrameKind::End => "end of segment",
    }
}

fn text(frame: &ScanFrame, images: bool) -> Vec<u8> {
    let bytes = frame.frame.end.get() - frame.frame.lsn.get();
    let time = frame
        .frame
        .time
        .map_or_else(|| "-".into(), |time| time.to_string());
    let mut line = format!(
        "{:>14} {bytes:>7}  {:<14} {time:>16}",
        frame.frame.lsn,
        name(frame.kind)
    );
    if let Some(durable) = frame.durable {
        line.push_str(&format!("  durable up to {durable}"));
    }
    line.push('\n');
    let mut text = line.into_bytes();
    if images && frame.kind.holds_records() {
        text.extend_from_slice(format!("{:>14} ", "").as_bytes());
        escape::escape_into(&frame.frame.payload, &mut text);
        text.push(b'\n');
    }
    text
}

fn document(frame: &ScanFrame, images: bool) -> Value {
    let mut document = json!({
        "lsn": frame.frame.lsn.get(),
        "bytes": frame.frame.end.get() - frame.frame.lsn.get(),
        "kind": name(frame.kind),
        "time_micros": frame.frame.time,
        "segment": frame.segment,
        "offset": frame.offset,
        "epoch": frame.epoch,
        "durable": frame.durable.map(Lsn::get),
    });
    if images && frame.kind.holds_records() {
        document["payload"] = escape::to_json(&frame.frame.payload);
    }
    document
}
