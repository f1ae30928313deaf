//! Names in the simulated world: whole names in one flat tree, parts joined by `/`, the top directory being the empty
//! name. Leading `/` and `.` do not count, so `db/log`, `/db/log` and `./db/log` are one.

use std::borrow::Cow;
use std::io::{Error, ErrorKind, Result};
use std::path::{Component, Path};

/// A path's whole name: most often what it says already.
pub(crate) fn whole(path: &Path) -> Result<Cow<'_, str>> {
    let plain = |name: &&str| !name.split('/').any(|part| matches!(part, "" | "." | ".."));
    if let Some(name) = path.to_str().filter(plain) {
        return Ok(Cow::Borrowed(name));
    }
    let mut name = String::new();
    for component in path.components() {
        match component {
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
            Component::ParentDir => name.truncate(parent(&name).len()),
            Component::Normal(part) => {
                let Some(part) = part.to_str() else {
                    let what = format!("the simulated disk takes Unicode names only: {path:?}");
                    return Err(Error::new(ErrorKind::InvalidInput, what));
                };
                if !name.is_empty() {
                    name.push('/');
                }
                name.push_str(part);
            }
        }
    }
    Ok(Cow::Owned(name))
}

/// The directory a name is in.
pub(crate) fn parent(name: &str) -> &str {
    name.rfind('/').map_or("", |slash| &name[..slash])
}

/// The last part of a name.
pub(crate) fn last(name: &str) -> &str {
    name.rfind('/').map_or(name, |slash| &name[slash + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names() {
        for (path, name) in [
            ("", ""),
            ("/", ""),
            (".", ""),
            ("db", "db"),
            ("db/log", "db/log"),
            ("db//log", "db/log"),
            ("db/../log", "log"),
            ("/db/log/", "db/log"),
            ("./db/./x/../log", "db/log"),
        ] {
            assert_eq!(whole(Path::new(path)).expect("Unicode"), name, "{path}");
        }
        assert_eq!((parent("db/log/1"), last("db/log/1")), ("db/log", "1"));
        assert_eq!((parent("db"), last("db")), ("", "db"));
    }
}
