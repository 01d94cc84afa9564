//! The reading of declared procedures: TOML, with every fault that it has.

use crate::fault::{Fault, Faults, line_of};
use crate::parameter::ParameterType;
use crate::procedure::{Declared, Isolation, Parameter, Procedure, Procedures};
use crate::statement::{Dialect, Statement, Verb};
use crate::template::Template;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use toml::Spanned;

/// Statements of one procedure.
pub const MAX_STATEMENTS: usize = 64;

/// Whatever else is in the file is somebody else's.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    procedure: BTreeMap<String, Spanned<ProcedureTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcedureTable {
    #[serde(default)]
    parameters: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    locks: Vec<Spanned<String>>,
    statements: Vec<Spanned<StatementTable>>,
    undo: Option<Spanned<String>>,
    isolation: Option<Spanned<String>>,
    #[serde(default)]
    read_only: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatementTable {
    sql: Spanned<String>,
    rows: Option<u64>,
    otherwise: Option<Spanned<String>>,
}

impl Procedures {
    /// Reads the tables `[procedure.NAME]` of a TOML file.
    ///
    /// # Errors
    /// All faults that can be found without the database.
    pub fn read(text: &str, dialect: Dialect) -> Result<Procedures, Faults> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, span.start));
            let what = error.message().to_owned();
            Faults(vec![Fault { procedure: String::new(), statement: None, line, what }])
        })?;
        let mut reader = Reader { text, dialect, faults: Vec::new() };
        let read: BTreeMap<_, _> = file
            .procedure
            .iter()
            .map(|(name, table)| (name.clone(), Arc::new(reader.procedure(name, table))))
            .collect();
        for (name, table) in &file.procedure {
            if let Some(undo) = &table.get_ref().undo {
                reader.check_undo(&read, name, undo);
            }
        }
        if reader.faults.is_empty() { Ok(Procedures(read)) } else { Err(Faults(reader.faults)) }
    }
}

struct Reader<'a> {
    text: &'a str,
    dialect: Dialect,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, procedure: &str, statement: Option<usize>, place: usize, what: impl Into<String>) {
        let line = Some(line_of(self.text, place));
        self.faults.push(Fault { procedure: procedure.to_owned(), statement, line, what: what.into() });
    }

    fn procedure(&mut self, name: &str, table: &Spanned<ProcedureTable>) -> Procedure {
        let (begin, table) = (table.span().start, table.get_ref());
        let is_name = |name: &str, allowed: &[u8]| {
            (1..=64).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || allowed.contains(&byte))
        };
        if !is_name(name, b"._-") {
            self.fault(name, None, begin, "its name has to be 1 to 64 characters of a-z, A-Z, 0-9, '.', '_' and '-'");
        }
        let mut parameters = Vec::new();
        for (parameter, kind) in &table.parameters {
            if !is_name(parameter, b"_") || parameter.starts_with(|first: char| first.is_ascii_digit()) {
                let what = format!("{parameter:?} is no name of a parameter; use a-z, A-Z, 0-9 and '_'");
                self.fault(name, None, kind.span().start, what);
            }
            match kind.get_ref().parse::<ParameterType>() {
                Ok(kind) => parameters.push(Parameter { name: parameter.clone(), kind }),
                Err(what) => self.fault(name, None, kind.span().start, format!("parameter {parameter}: {what}")),
            }
        }
        let count = table.statements.len();
        if count == 0 || count > MAX_STATEMENTS {
            self.fault(name, None, begin, format!("it has {count} statements; give it 1 to {MAX_STATEMENTS}"));
        }
        let known: Vec<&str> = table.parameters.keys().map(String::as_str).collect();
        let statements: Vec<Declared> =
            (1..).zip(&table.statements).filter_map(|(at, table)| self.statement(name, &known, at, table)).collect();
        let locks =
            table.locks.iter().filter_map(|lock| self.template(name, None, &known, "a lock key", lock)).collect();
        let isolation = table.isolation.as_ref().map_or(Isolation::default(), |given| {
            match given.get_ref().to_lowercase().replace(['_', '-'], " ").as_str() {
                "read committed" => Isolation::ReadCommitted,
                "repeatable read" => Isolation::RepeatableRead,
                "serializable" => Isolation::Serializable,
                _ => {
                    let what = "isolation has to be \"read committed\", \"repeatable read\" or \"serializable\"";
                    self.fault(name, None, given.span().start, what);
                    Isolation::default()
                }
            }
        });
        if table.read_only && statements.iter().any(|declared| declared.statement.verb == Verb::Writes) {
            self.fault(name, None, begin, "it is said to be read_only, but a statement writes; leave read_only out");
        }
        self.unused(name, begin, &known, table, &statements);
        Procedure {
            name: name.to_owned(),
            parameters,
            statements,
            locks,
            undo: table.undo.as_ref().map(|undo| undo.get_ref().clone()),
            isolation,
            is_said_to_read: table.read_only,
            line: line_of(self.text, begin),
        }
    }

    fn statement(
        &mut self,
        procedure: &str,
        known: &[&str],
        at: usize,
        table: &Spanned<StatementTable>,
    ) -> Option<Declared> {
        let table = table.get_ref();
        let begin = table.sql.span().start;
        let statement = match Statement::read(table.sql.get_ref(), self.dialect) {
            Ok(statement) => statement,
            Err((place, what)) => {
                // Within the quotes that the text has in the file, as near as can be told without undoing its escapes.
                self.fault(procedure, Some(at), begin + place, what);
                return None;
            }
        };
        let mut parameters = Vec::new();
        for name in &statement.parameters {
            match known.iter().position(|known| known == name) {
                Some(place) => parameters.push(place),
                None => {
                    let what =
                        format!("it uses :{name}, which is not among the parameters; declare it, or correct the name");
                    self.fault(procedure, Some(at), begin, what);
                }
            }
        }
        let otherwise =
            table.otherwise.as_ref().and_then(|text| self.template(procedure, Some(at), known, "otherwise", text));
        if table.rows.is_none() && table.otherwise.is_some() {
            self.fault(
                procedure,
                Some(at),
                begin,
                "otherwise is what is said when rows is another number; give rows too",
            );
        }
        if table.rows.is_some() && statement.counts_twice {
            let what = "the database counts a row that it writes over as two, so that rows cannot tell; leave rows out, or write INSERT \
                        or UPDATE alone";
            self.fault(procedure, Some(at), begin, what);
        }
        Some(Declared { statement, parameters, rows: table.rows, otherwise, line: line_of(self.text, begin) })
    }

    fn template(
        &mut self,
        procedure: &str,
        statement: Option<usize>,
        known: &[&str],
        what: &str,
        text: &Spanned<String>,
    ) -> Option<Template> {
        let place = text.span().start;
        let template = match Template::read(text.get_ref()) {
            Ok(template) => template,
            Err(why) => {
                self.fault(procedure, statement, place, format!("{what}: {why}"));
                return None;
            }
        };
        let unknown: Vec<String> =
            template.arguments().filter(|name| !known.contains(name)).map(str::to_owned).collect();
        for name in unknown {
            let why =
                format!("{what} has {{{name}}}, which is not among the parameters; declare it, or correct the name");
            self.fault(procedure, statement, place, why);
        }
        Some(template)
    }

    /// Refuses a parameter that nothing uses: it is a mistake in a name somewhere.
    fn unused(&mut self, name: &str, begin: usize, known: &[&str], table: &ProcedureTable, statements: &[Declared]) {
        if statements.len() < table.statements.len() {
            return;
        }
        for parameter in known {
            let in_statement = |declared: &Declared| declared.statement.parameters.iter().any(|used| used == parameter);
            let in_lock = |lock: &Spanned<String>| lock.get_ref().contains(&format!("{{{parameter}}}"));
            if !statements.iter().any(in_statement) && !table.locks.iter().any(in_lock) {
                self.fault(name, None, begin, format!("nothing uses its parameter {parameter}; leave it out"));
            }
        }
    }

    fn check_undo(&mut self, all: &BTreeMap<String, Arc<Procedure>>, name: &str, undo: &Spanned<String>) {
        let place = undo.span().start;
        let Some(undoing) = all.get(undo.get_ref()) else {
            let what =
                format!("undo names {:?}, which is no procedure here; declare it, or correct the name", undo.get_ref());
            self.fault(name, None, place, what);
            return;
        };
        let own = &all[name].parameters;
        for parameter in undoing.parameters.iter().filter(|parameter| !own.contains(parameter)) {
            let (undo, Parameter { name: missing, kind }) = (&undoing.name, parameter);
            let what = format!(
                "its undo {undo} gets the same arguments and needs {missing} as {kind}, which is not among the parameters; declare \
                 it here, or let the undo do without"
            );
            self.fault(name, None, place, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANK: &str = r#"
name = "bank"
[procedure.withdraw]
parameters = { account = "text", amount = "bigint" }
locks = ["account:{account}"]
statements = [{ sql = "UPDATE accounts SET balance = balance - :amount WHERE id = :account RETURNING balance", rows = 1, otherwise = "{account} has less than {amount}" }]
undo = "deposit"
[procedure.deposit]
parameters = { account = "text", amount = "bigint" }
statements = [{ sql = "UPDATE accounts SET balance = balance + :amount WHERE id = :account", rows = 1 }]
[procedure.look]
parameters = { account = "text" }
isolation = "serializable"
statements = [{ sql = "SELECT balance FROM accounts WHERE id = :account" }]
[procedure.hold]
parameters = { account = "text" }
read_only = true
statements = [{ sql = "SELECT balance FROM accounts WHERE id = :account FOR SHARE" }]
"#;

    fn faults(text: &str) -> Vec<String> {
        match Procedures::read(text, Dialect::PostgreSql) {
            Ok(_) => Vec::new(),
            Err(Faults(faults)) => faults.iter().map(Fault::to_string).collect(),
        }
    }

    #[test]
    fn a_bank_is_read() {
        let bank = Procedures::read(BANK, Dialect::PostgreSql).unwrap();
        let withdraw = bank.get("withdraw").unwrap();
        assert_eq!(withdraw.statements[0].parameters, [1, 0], "amount, account of account, amount");
        assert_eq!((withdraw.statements[0].rows, withdraw.statements[0].line), (Some(1), 6));
        let reads = |name: &str| bank.get(name).unwrap().only_reads();
        assert!(!reads("withdraw") && reads("look") && reads("hold"));
        assert_eq!(bank.get("look").unwrap().isolation, Isolation::Serializable);
    }

    #[test]
    fn who_locks_rows_and_does_not_say_that_it_only_reads_is_prepared() {
        let text = BANK.replace("read_only = true\n", "");
        let bank = Procedures::read(&text, Dialect::PostgreSql).unwrap();
        assert!(!bank.get("hold").unwrap().only_reads());
    }

    #[test]
    fn each_fault_is_told_at_its_procedure_statement_and_line() {
        for (change, to, says) in [
            (
                "WHERE id = :account RETURNING",
                "WHERE id = :acount RETURNING",
                "line 6: procedure withdraw, statement 1: it uses :acount",
            ),
            ("\"account:{account}\"", "\"account:{acount}\"", "line 5: procedure withdraw: a lock key has {acount}"),
            (
                "{account} has less",
                "{acount} has less",
                "line 6: procedure withdraw, statement 1: otherwise has {acount}",
            ),
            ("undo = \"deposit\"", "undo = \"deposits\"", "line 7: procedure withdraw: undo names \"deposits\""),
            ("undo = \"deposit\"", "undo = \"look\"\nredo = 1", "unknown field"),
            (
                "amount = \"bigint\" }\nlocks",
                "amount = \"bigint\", memo = \"text\" }\nlocks",
                "procedure withdraw: nothing uses its parameter memo",
            ),
            (
                "amount = \"bigint\" }\nlocks",
                "amount = \"money\" }\nlocks",
                "line 4: procedure withdraw: parameter amount: \"money\" is no type",
            ),
            ("\"serializable\"", "\"chaos\"", "line 13: procedure look: isolation has to be"),
            ("rows = 1, otherwise", "otherwise", "line 6: procedure withdraw, statement 1: otherwise is what is said"),
            (
                "SELECT balance FROM accounts WHERE id = :account\"",
                "DROP TABLE accounts\"",
                "line 14: procedure look, statement 1: it begins with DROP",
            ),
            (" FOR SHARE", "\" }, { sql = \"DELETE FROM accounts", "procedure hold: it is said to be read_only"),
            ("name = \"bank\"", "name = bank", "line 2:"),
        ] {
            assert!(BANK.contains(change), "{change}");
            let faults = faults(&BANK.replacen(change, to, 1));
            assert!(faults.iter().any(|fault| fault.contains(says)), "{to}: {faults:#?}");
        }
    }

    #[test]
    fn rows_stand_where_the_database_counts_rows() {
        let upsert = "[procedure.p]\nstatements = [\n{ sql = \"INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 1\", rows = 1 },\n]\n";
        let Err(Faults(faults)) = Procedures::read(upsert, Dialect::MariaDb) else { panic!("it is a fault") };
        assert!(
            faults[0].to_string().starts_with("line 3: procedure p, statement 1: the database counts"),
            "{faults:?}"
        );
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let text = BANK.replace(":account", ":acount");
        assert!(faults(&text).len() >= 4, "{:#?}", faults(&text));
    }

    #[test]
    fn an_undo_gets_the_same_arguments() {
        let text = BANK
            .replacen("undo = \"deposit\"", "", 1)
            .replace("[procedure.hold]", "undo = \"deposit\"\n[procedure.hold]");
        let faults = faults(&text);
        assert!(faults.iter().any(|fault| fault.contains("needs amount as bigint")), "{faults:#?}");
    }
}
