//! What the SQL of functions may do: SQLite asks about each thing that a statement would, while it
//! is prepared.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::Access;
use super::migrate::TABLE;

/// Pragmas that tell about the schema: their argument is a name.
const ABOUT: &[&str] = &[
    "collation_list",
    "compile_options",
    "foreign_key_check",
    "foreign_key_list",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "module_list",
    "pragma_list",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Pragmas that tell a number, and set it where they have an argument: without one only.
const TOLD: &[&str] = &[
    "application_id",
    "data_version",
    "encoding",
    "foreign_keys",
    "freelist_count",
    "journal_mode",
    "max_page_count",
    "page_count",
    "page_size",
    "recursive_triggers",
    "schema_version",
    "synchronous",
    "user_version",
];

/// A pragma that holds until the end of the transaction, and that migrations need.
const DEFERS: &str = "defer_foreign_keys";

/// Functions that reach out of the database.
const FUNCTIONS: &[&str] = &["fts3_tokenizer", "load_extension"];

/// Kinds of virtual tables that can be made.
const MODULES: &[&str] = &["fts5", "rtree", "rtree_i32"];

/// What was allowed, and why something was not.
#[derive(Debug, Clone, Default)]
pub struct Authorizer {
    /// A statement of our own is prepared.
    own: Arc<AtomicBool>,
    why: Arc<Mutex<Option<String>>>,
}

impl Authorizer {
    /// Whether a statement of our own is prepared: it may do anything.
    pub fn own(&self, own: bool) {
        self.own.store(own, Ordering::Relaxed);
    }

    /// Why the last statement was not allowed.
    pub fn why(&self) -> Option<String> {
        self.why
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Installs it.
    pub fn install(
        &self,
        connection: &mut rusqlite::Connection,
        access: Access,
    ) -> rusqlite::Result<()> {
        let this = self.clone();
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            if this.own.load(Ordering::Relaxed) {
                return Authorization::Allow;
            }
            match elsewhere(&context).or_else(|| refused(context.action, access)) {
                None => Authorization::Allow,
                Some(why) => {
                    let mut last = this.why.lock().unwrap_or_else(PoisonError::into_inner);
                    // Of several the first one was in the statement itself.
                    last.get_or_insert(why);
                    Authorization::Deny
                }
            }
        }))
    }
}

fn has(list: &[&str], name: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(name))
}

const TEMPORARY: &str = "there are no temporary tables: use a common table expression (WITH)";

/// Why this is refused for the database that it is about, if it is. That of temporary tables has nothing
/// in it, also where a name says it: `temp.x`.
fn elsewhere(context: &AuthContext<'_>) -> Option<String> {
    let looks = matches!(
        context.action,
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Pragma { .. }
    );
    let temporary = context.database_name == Some("temp");
    (temporary && !looks).then(|| TEMPORARY.to_owned())
}

/// Why this is refused, if it is.
fn refused(action: AuthAction<'_>, access: Access) -> Option<String> {
    let said = |why: &str| Some(why.to_owned());
    match action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => None,
        AuthAction::Function { function_name } if has(FUNCTIONS, function_name) => {
            Some(format!("the SQL function `{function_name}` is not allowed"))
        }
        AuthAction::Function { .. } => None,
        AuthAction::Pragma {
            pragma_name,
            pragma_value,
        } => pragma(pragma_name, pragma_value),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
            said("a store is one database: ATTACH, DETACH and VACUUM are not allowed")
        }
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => said(
            "transactions are not begun and ended by SQL, but by the requests for it, and are not \
             nested",
        ),
        AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::DropTempIndex { .. }
        | AuthAction::DropTempTable { .. }
        | AuthAction::DropTempTrigger { .. }
        | AuthAction::DropTempView { .. } => said(TEMPORARY),
        AuthAction::CreateVtable { module_name, .. }
        | AuthAction::DropVtable { module_name, .. }
            if !has(MODULES, module_name) =>
        {
            Some(format!(
                "virtual tables of the kind `{module_name}` are not allowed; there are {}",
                MODULES.join(", ")
            ))
        }
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::AlterTable { table_name, .. }
        | AuthAction::CreateTable { table_name }
        | AuthAction::DropTable { table_name }
        | AuthAction::CreateView {
            view_name: table_name,
        }
        | AuthAction::DropView {
            view_name: table_name,
        }
        | AuthAction::CreateIndex { table_name, .. }
        | AuthAction::DropIndex { table_name, .. }
        | AuthAction::CreateTrigger { table_name, .. }
        | AuthAction::DropTrigger { table_name, .. }
        | AuthAction::CreateVtable { table_name, .. }
        | AuthAction::DropVtable { table_name, .. }
        | AuthAction::Analyze { table_name } => changes(Some(table_name), access),
        AuthAction::Reindex { .. } => changes(None, access),
        // What this version of SQLite does not have.
        _ => said("a statement of this kind is not allowed"),
    }
}

fn changes(table: Option<&str>, access: Access) -> Option<String> {
    if access == Access::Read {
        return Some("the store was opened for reading".to_owned());
    }
    let own = table.is_some_and(|table| table.eq_ignore_ascii_case(TABLE));
    own.then(|| format!("the table `{TABLE}` is Embly's own"))
}

fn pragma(name: &str, value: Option<&str>) -> Option<String> {
    let allowed = has(ABOUT, name)
        || (has(TOLD, name) && value.is_none())
        || name.eq_ignore_ascii_case(DEFERS);
    (!allowed).then(|| match (has(TOLD, name), value) {
        (true, Some(_)) => format!("the pragma `{name}` can be read, not set"),
        _ => format!("the pragma `{name}` is not allowed"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pragmas_tell_and_set_nothing() {
        assert_eq!(pragma("TABLE_INFO", Some("t")), None);
        assert_eq!(pragma("user_version", None), None);
        for (name, value) in [
            ("user_version", Some("7")),
            ("journal_mode", Some("off")),
            ("synchronous", Some("0")),
            ("writable_schema", Some("1")),
            ("temp_store_directory", None),
            ("wal_checkpoint", None),
            ("hard_heap_limit", Some("0")),
            ("database_list", None),
        ] {
            assert!(pragma(name, value).is_some(), "{name}");
        }
    }
}
