//! What the shell can do, for `\help` and for completion: every command, how it is written, and what it is for.

struct Command {
    name: &'static str,
    /// Other ways to write it.
    also: &'static [&'static str],
    usage: &'static str,
    what: &'static str,
}

const fn plain(name: &'static str, usage: &'static str, what: &'static str) -> Command {
    Command {
        name,
        also: &[],
        usage,
        what,
    }
}

const COMMANDS: &[Command] = &[
    plain("tables", "tables", "the names of all tables"),
    plain(
        "create",
        "create TABLE [unlogged]",
        "make a table; an unlogged one is empty after a crash",
    ),
    plain(
        "drop",
        "drop TABLE",
        "a table less, with all its rows, at once",
    ),
    plain("rename", "rename TABLE to NAME", "another name for a table"),
    plain(
        "use",
        "use [TABLE]",
        "the table that is meant where none is named; none again without a name",
    ),
    plain("get", "get [TABLE] KEY", "the value of a key"),
    plain(
        "put",
        "put [TABLE] KEY VALUE",
        "set the value of a key, whether or not it has one",
    ),
    plain(
        "insert",
        "insert [TABLE] KEY VALUE",
        "give a key a value; fails if it has one",
    ),
    plain(
        "update",
        "update [TABLE] KEY VALUE",
        "change the value of a key; fails if it has none",
    ),
    plain(
        "delete",
        "delete [TABLE] KEY | delete [TABLE] [prefix P] [from A] [to B]",
        "delete a row; or all rows of a part",
    ),
    plain(
        "scan",
        "scan [TABLE] [prefix P] [from A] [to B] [limit N] [reverse]",
        "the rows whose keys begin with P, from A on, before B, in key order",
    ),
    plain(
        "count",
        "count [TABLE] [prefix P] [from A] [to B]",
        "how many rows there are",
    ),
    plain(
        "begin",
        "begin",
        "begin a transaction: what follows happens together, or not at all",
    ),
    plain(
        "commit",
        "commit",
        "end it: all of it is durable when the prompt is back",
    ),
    plain(
        "rollback",
        "rollback [to NAME]",
        "take all of it back; or what was done since a savepoint",
    ),
    plain(
        "savepoint",
        "savepoint NAME",
        "a place in the transaction to go back to",
    ),
    plain(
        "release",
        "release NAME",
        "forget a savepoint and those set after it; what was done stays",
    ),
    plain(
        "stats",
        "stats",
        "where the log stands, what commits, waits and checkpoints there were",
    ),
    plain(
        "set",
        "set NAME VALUE",
        "change a setting, where it can change at any time, until the shell is left",
    ),
    plain("checkpoint", "checkpoint", "take a checkpoint"),
    plain(
        "verify",
        "verify",
        "check every page, every tree and all log; fails if anything is wrong",
    ),
    plain(
        "\\timing",
        "\\timing [on|off]",
        "say how long each command took",
    ),
    plain(
        "\\format",
        "\\format [text|hex|escape]",
        "how bytes are shown",
    ),
    plain(
        "\\width",
        "\\width N|all",
        "show at most so many bytes of a value, and its length",
    ),
    Command {
        name: "\\help",
        also: &["help", "\\h", "\\?", "?"],
        usage: "\\help [COMMAND]",
        what: "this; or one command",
    },
    Command {
        name: "\\quit",
        also: &["quit", "exit", "\\q"],
        usage: "\\quit",
        what: "leave; an open transaction is rolled back",
    },
];

/// How keys and values are written.
const WRITING: &str = "\
Keys and values are written plainly, in quotes, or in hex; what is printed can be typed again:
  alice    \"two words\"    \"tab \\t, quote \\\", any byte \\x00\"    0x00ff
Several commands may stand on a line, parted by `;`. What follows a # is a remark.
Outside a transaction each command is one, durable when it is done.";

/// Every command's name.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|command| command.name)
}

/// The name of the command that is written so.
pub fn command(typed: &str) -> Option<&'static str> {
    let found = COMMANDS
        .iter()
        .find(|command| command.name == typed || command.also.contains(&typed));
    found.map(|command| command.name)
}

/// A command whose name is nearly that.
pub fn nearest(typed: &str) -> Option<&'static str> {
    let distance = |name: &str| {
        let (name, typed) = (
            name.trim_start_matches('\\'),
            typed.trim_start_matches('\\'),
        );
        edits(name.as_bytes(), typed.as_bytes())
    };
    let near = names().map(|name| (distance(name), name)).min()?;
    (near.0 <= 2 && near.0 < typed.len()).then_some(near.1)
}

/// How many letters must be put in, taken out or changed to make one of the other; two that change places are two.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(before + 1);
        }
    }
    row[b.len()]
}

/// How a command is written.
pub fn usage(name: &str) -> &'static str {
    let found = COMMANDS.iter().find(|command| command.name == name);
    found.map_or("", |command| command.usage)
}

/// The help, of everything or of one command.
pub fn text(about: Option<&str>) -> Result<String, String> {
    let Some(about) = about else {
        let lines = COMMANDS.iter().map(|command| match command.usage {
            long if long.len() > 32 => format!("  {long}\n{:36}{}\n", "", command.what),
            short => format!("  {short:<34}{}\n", command.what),
        });
        return Ok(format!("{}\n{WRITING}", lines.collect::<String>()));
    };
    let name = command(about)
        .or_else(|| command(&format!("\\{about}")))
        .ok_or_else(|| format!("there is no command {about}"))?;
    let found = COMMANDS.iter().find(|command| command.name == name);
    Ok(found.map_or(String::new(), |command| {
        format!("  {}\n  {}", command.usage, command.what)
    }))
}
