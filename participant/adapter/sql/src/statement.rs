//! Statements as they are declared: where their parameters stand, and what they do.
//!
//! It reads words, quotes and comments, no grammar: whether a statement is right only the database knows, which is asked at the
//! start. What is decided here decides nothing about safety: a procedure that is taken for reading runs where the database
//! refuses to write.

/// The places where SQL databases differ in what is no word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    PostgreSql,
    MariaDb,
}

/// The effect of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Reads,
    Writes,
}

/// A piece of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    /// A place in [`Statement::parameters`].
    Parameter(usize),
}

/// A statement with its parameters found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub pieces: Vec<Piece>,
    /// The names of its parameters, in the order in which they first stand there.
    pub parameters: Vec<String>,
    pub verb: Verb,
    /// True if it locks the rows that it reads.
    pub locks_rows: bool,
    /// True if it writes and returns rows.
    pub returns: bool,
    /// True if the database counts a row that it writes over as more than one.
    pub counts_twice: bool,
}

const NOT_ALLOWED: &str = "procedures are made of SELECT, INSERT, UPDATE, DELETE and MERGE, with or without WITH";

impl Statement {
    /// Reads a statement.
    ///
    /// # Errors
    /// The reason why it cannot be part of a procedure, with the byte where that shows.
    pub fn read(sql: &str, dialect: Dialect) -> Result<Statement, (usize, String)> {
        let Lexed { pieces, parameters, words } = Lexer { sql, dialect, at: 0 }.read()?;
        let is = |at: usize, expected: &[&str]| words.get(at).is_some_and(|word| expected.contains(&word.as_str()));
        let locks_rows = (0..words.len()).any(|at| {
            is(at, &["FOR"]) && is(at + 1, &["UPDATE", "SHARE", "NO", "KEY"])
                || is(at, &["LOCK"]) && is(at + 1, &["IN"]) && is(at + 2, &["SHARE"])
        });
        let locks = |at: usize| at > 0 && is(at - 1, &["FOR", "KEY"]);
        let writes = |at: usize| is(at, &["INSERT", "DELETE", "MERGE"]) || is(at, &["UPDATE"]) && !locks(at);
        let verb = match words.first().map(String::as_str) {
            Some("SELECT" | "VALUES" | "TABLE") if words.iter().any(|word| word == "INTO") => {
                return Err((0, format!("SELECT … INTO makes a table; {NOT_ALLOWED}")));
            }
            Some("SELECT" | "VALUES" | "TABLE") => Verb::Reads,
            Some("WITH") if !(0..words.len()).any(writes) => Verb::Reads,
            Some("WITH" | "INSERT" | "UPDATE" | "DELETE" | "MERGE") => Verb::Writes,
            Some("REPLACE") if dialect == Dialect::MariaDb => Verb::Writes,
            Some(word) => return Err((0, format!("it begins with {word}; {NOT_ALLOWED}"))),
            None => return Err((0, format!("it is empty; {NOT_ALLOWED}"))),
        };
        let returns = verb == Verb::Writes && words.iter().any(|word| word == "RETURNING");
        let replaces = is(0, &["REPLACE"]) || (0..words.len()).any(|at| is(at, &["DUPLICATE"]) && is(at + 1, &["KEY"]));
        let counts_twice = dialect == Dialect::MariaDb && replaces && !returns;
        Ok(Statement { pieces, parameters, verb, locks_rows, returns, counts_twice })
    }

    /// Returns its text with numbered places for its parameters, `$1` for the first.
    pub fn numbered(&self) -> String {
        self.with(|parameter| format!("${}", parameter + 1))
    }

    /// Returns its text with something in place of each parameter, which is told by its place in `parameters`.
    pub fn with(&self, mut stands: impl FnMut(usize) -> String) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Parameter(parameter) => text.push_str(&stands(*parameter)),
            }
        }
        text
    }
}

struct Lexed {
    pieces: Vec<Piece>,
    parameters: Vec<String>,
    /// In upper case.
    words: Vec<String>,
}

struct Lexer<'a> {
    sql: &'a str,
    dialect: Dialect,
    at: usize,
}

impl Lexer<'_> {
    fn read(mut self) -> Result<Lexed, (usize, String)> {
        let mut lexed = Lexed { pieces: Vec::new(), parameters: Vec::new(), words: Vec::new() };
        let (mut from, mut ended) = (0, None);
        while let Some(next) = self.rest().chars().next() {
            let begin = self.at;
            if self.skip_quoted()? {
                continue;
            }
            if let (Some(semicolon), false) = (ended, next.is_whitespace()) {
                return Err((semicolon, "it has a ; in its midst; write one statement each".to_owned()));
            }
            match next {
                ';' => {
                    ended = Some(begin);
                    lexed.text(&self.sql[from..begin]);
                    self.at += 1;
                    from = self.at;
                }
                ':' if self.rest().starts_with("::") => self.at += 2,
                ':' if !self.follows_a_word() => {
                    self.at += 1;
                    let name = self.word().to_owned();
                    if !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()) {
                        lexed.text(&self.sql[from..begin]);
                        lexed.parameter(name);
                        from = self.at;
                    }
                }
                '$' if self.rest()[1..].starts_with(|next: char| next.is_ascii_digit()) => {
                    return Err((begin, "it has a numbered parameter; write :name and declare the name".to_owned()));
                }
                '?' if self.dialect == Dialect::MariaDb => {
                    return Err((begin, "it has a ? as a parameter; write :name and declare the name".to_owned()));
                }
                next if is_of_word(next) => {
                    let word = self.word().to_uppercase();
                    lexed.words.push(word);
                }
                next => self.at += next.len_utf8(),
            }
        }
        if ended.is_none() {
            lexed.text(&self.sql[from..]);
        }
        Ok(lexed)
    }

    fn rest(&self) -> &str {
        &self.sql[self.at..]
    }

    /// Returns true if the character before is of a word or closes a bracket, as in a slice of an array.
    fn follows_a_word(&self) -> bool {
        let before = self.sql[..self.at].chars().next_back();
        before.is_some_and(|before| is_of_word(before) || before == ':' || before == ']' || before == ')')
    }

    fn word(&mut self) -> &str {
        let begin = self.at;
        let length = self.rest().find(|next| !is_of_word(next)).unwrap_or(self.rest().len());
        self.at += length;
        &self.sql[begin..begin + length]
    }

    /// Skips a string, a quoted name or a comment, if one begins here.
    fn skip_quoted(&mut self) -> Result<bool, (usize, String)> {
        let (begin, rest) = (self.at, self.rest());
        let is_mariadb = self.dialect == Dialect::MariaDb;
        let escapes = is_mariadb || self.sql[..begin].ends_with(['E', 'e']) && !self.is_in_word_before_last();
        let length = if rest.starts_with('\'') {
            quoted(rest, '\'', escapes)
        } else if rest.starts_with('"') {
            quoted(rest, '"', is_mariadb)
        } else if rest.starts_with('`') && is_mariadb {
            quoted(rest, '`', false)
        } else if rest.starts_with("--") || rest.starts_with('#') && is_mariadb {
            Some(rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            comment(rest, !is_mariadb)
        } else if rest.starts_with('$') && !is_mariadb && !self.follows_a_word() {
            let Some(tag) = dollar_tag(rest) else { return Ok(false) };
            rest[tag.len()..].find(tag).map(|at| at + 2 * tag.len())
        } else {
            return Ok(false);
        };
        let length = length.ok_or_else(|| (begin, "a quote or a comment that begins here does not end".to_owned()))?;
        self.at += length;
        Ok(true)
    }

    /// Returns true if the character before the last one is of a word: then the last one is no prefix of a string.
    fn is_in_word_before_last(&self) -> bool {
        self.sql[..self.at].chars().rev().nth(1).is_some_and(is_of_word)
    }
}

impl Lexed {
    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.pieces.push(Piece::Text(text.to_owned()));
        }
    }

    fn parameter(&mut self, name: String) {
        let known = self.parameters.iter().position(|known| *known == name);
        let place = known.unwrap_or_else(|| {
            self.parameters.push(name);
            self.parameters.len() - 1
        });
        self.pieces.push(Piece::Parameter(place));
    }
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Returns the length of what is quoted; `None` if it does not end.
fn quoted(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if escapes && character == '\\' {
            characters.next();
        } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return Some(at + quote.len_utf8());
        }
    }
    None
}

fn comment(text: &str, nests: bool) -> Option<usize> {
    let (mut at, mut depth) = (2, 1_usize);
    while depth > 0 {
        let rest = text.get(at..)?;
        let end = rest.find("*/")?;
        match rest.find("/*").filter(|begin| nests && *begin < end) {
            Some(begin) => (at, depth) = (at + begin + 2, depth + 1),
            None => (at, depth) = (at + end + 2, depth - 1),
        }
    }
    Some(at)
}

/// Returns the tag with which a dollar-quoted string begins.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = text[1..].find('$')? + 2;
    let tag = &text[..end];
    let name = &tag[1..end - 1];
    (name.chars().all(is_of_word) && !name.starts_with(|first: char| first.is_ascii_digit())).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Statement {
        Statement::read(sql, Dialect::PostgreSql).unwrap()
    }

    fn fault(sql: &str, dialect: Dialect) -> String {
        Statement::read(sql, dialect).unwrap_err().1
    }

    #[test]
    fn parameters_are_found_where_they_are_parameters() {
        let statement = read(
            "UPDATE a SET b = b - :amount, c = :x::text, d = '::no :no', \"e:no\" = a[1:2] -- :no\n/* :no /* :no */ */ \
             WHERE f = :amount AND g = E'it\\'s :no' AND h = $q$:no$q$ AND i ? 'k';",
        );
        assert_eq!(statement.parameters, ["amount", "x"]);
        assert_eq!(
            statement.numbered(),
            "UPDATE a SET b = b - $1, c = $2::text, d = '::no :no', \"e:no\" = a[1:2] -- :no\n/* :no /* :no */ */ WHERE f = \
             $1 AND g = E'it\\'s :no' AND h = $q$:no$q$ AND i ? 'k'"
        );
        let statement = Statement::read("SELECT `a:no`, 'it\\'s :no' # :no\n, :yes", Dialect::MariaDb).unwrap();
        assert_eq!(statement.parameters, ["yes"]);
    }

    #[test]
    fn what_a_statement_does_is_told_by_its_words() {
        let does = |sql: &str| {
            let Statement { verb, locks_rows, returns, .. } = read(sql);
            (verb, locks_rows, returns)
        };
        assert_eq!(does("select 'UPDATE' from a"), (Verb::Reads, false, false));
        assert_eq!(does("SELECT a FROM b FOR UPDATE"), (Verb::Reads, true, false));
        assert_eq!(does("SELECT a FROM b FOR NO KEY UPDATE"), (Verb::Reads, true, false));
        assert_eq!(does("WITH a AS (SELECT 1 FROM b FOR NO KEY UPDATE) SELECT * FROM a"), (Verb::Reads, true, false));
        assert_eq!(does("WITH a AS (DELETE FROM b RETURNING 1) SELECT * FROM a"), (Verb::Writes, false, true));
        assert_eq!(does("-- says\nINSERT INTO a VALUES (1)"), (Verb::Writes, false, false));
    }

    #[test]
    fn what_writes_over_rows_counts_them_otherwise() {
        for (sql, counts_twice) in [
            ("REPLACE INTO a VALUES (1)", true),
            ("INSERT INTO a VALUES (1) ON DUPLICATE KEY UPDATE b = 1", true),
            ("INSERT INTO a VALUES (1) ON DUPLICATE KEY UPDATE b = 1 RETURNING b", false),
            ("INSERT INTO a VALUES ('ON DUPLICATE KEY UPDATE')", false),
        ] {
            assert_eq!(Statement::read(sql, Dialect::MariaDb).unwrap().counts_twice, counts_twice, "{sql}");
        }
    }

    #[test]
    fn what_cannot_be_part_of_a_procedure_says_why() {
        use Dialect::{MariaDb, PostgreSql};
        for (sql, dialect, says) in [
            ("COMMIT", PostgreSql, "begins with COMMIT"),
            ("  ", PostgreSql, "empty"),
            ("SELECT 1; DELETE FROM a", PostgreSql, "one statement each"),
            ("SELECT 'a", PostgreSql, "does not end"),
            ("SELECT /* a", PostgreSql, "does not end"),
            ("SELECT $1", PostgreSql, "numbered"),
            ("SELECT ?", MariaDb, "write :name"),
            ("SELECT 1 INTO a", PostgreSql, "makes a table"),
            ("REPLACE INTO a VALUES (1)", PostgreSql, "begins with REPLACE"),
        ] {
            assert!(fault(sql, dialect).contains(says), "{sql}: {}", fault(sql, dialect));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_lost_and_none_makes_it_panic(sql in "(SELECT )?[ -~äß\n]{0,80}") {
            for dialect in [Dialect::PostgreSql, Dialect::MariaDb] {
                if let Ok(statement) = Statement::read(&sql, dialect) {
                    let again = statement.with(|place| format!(":{}", statement.parameters[place]));
                    proptest::prop_assert!(sql.starts_with(&again), "{} became {}", sql, again);
                }
            }
        }
    }
}
