//! What the shell does with whole tables. It happens outside of transactions, at once and durably.

use super::session::Session;
use super::words::show;
use crate::failure::Failure;
use crate::units::counted;
use serde_json::json;

impl Session<'_> {
    pub fn tables(&mut self) -> Result<(), Failure> {
        let names = self.db.tables().map_err(self.told())?;
        let unlogged = self.db.unlogged_tables().map_err(self.told())?;
        let document = json!({ "tables": names, "unlogged": unlogged });
        self.show.result(&document, |show| {
            let count = names.len() as u64;
            let format = show.format;
            show.lines(names.iter().map(|name| {
                let flag = if unlogged.contains(name) {
                    "\tunlogged"
                } else {
                    ""
                };
                format!("{}{flag}", self::show(name.as_bytes(), format))
            }))?;
            show.remark(counted(count, "table", "tables"))
        })
    }

    pub fn create(&mut self, name: &str, unlogged: bool) -> Result<(), Failure> {
        let names = self.db.tables().map_err(self.told())?;
        if names.iter().any(|table| table == name) {
            return Err(Failure::data("there is a table of this name already").at(name));
        }
        let table = match unlogged {
            true => self.db.unlogged_table(name),
            false => self.db.table(name),
        };
        let table = table.map_err(self.told())?;
        self.last = Some((name.to_owned(), table));
        let alone = if self.open.is_some() {
            ": it is there now, and stays, whatever becomes of the transaction"
        } else {
            ""
        };
        self.show.remark(format_args!("created{alone}"))
    }

    /// Tables change outside of transactions; one that is open here would have to wait for itself.
    fn no_transaction(&self) -> Result<(), Failure> {
        if self.open.is_none() {
            return Ok(());
        }
        Err(Failure::usage("a transaction is open").advise("`commit` or `rollback` it first"))
    }

    pub fn drop_table(&mut self, name: &str) -> Result<(), Failure> {
        self.no_transaction()?;
        self.table(Some(name.to_owned()))?;
        self.last = None;
        self.used = self.used.take().filter(|used| used != name);
        self.db.drop_table(name).map_err(self.told())?;
        self.show.aside("dropped")
    }

    pub fn rename(&mut self, from: &str, to: String) -> Result<(), Failure> {
        self.no_transaction()?;
        self.table(Some(from.to_owned()))?;
        self.last = None;
        let renamed = self.db.rename_table(from, &to);
        renamed.map_err(self.told())?;
        if self.used.as_deref() == Some(from) {
            self.used = Some(to);
        }
        Ok(())
    }

    pub fn use_table(&mut self, name: Option<String>) -> Result<(), Failure> {
        if name.is_some() {
            self.table(name.clone())?;
        }
        self.used = name;
        Ok(())
    }
}
