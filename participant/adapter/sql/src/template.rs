//! Texts with places for arguments: lock keys, and the sentences of refusals.

/// A text in which `{name}` stands for an argument; `{{` and `}}` for braces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Argument(String),
}

impl Template {
    pub(crate) fn read(text: &str) -> Result<Template, String> {
        let (mut parts, mut literal) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let name = if brace == "{" { after.split_once('}') } else { None };
            let Some((name, after)) = name else {
                return Err(format!("{text:?} has a brace without its other one; write {{name}}, or double the brace"));
            };
            parts.push(Part::Text(std::mem::take(&mut literal)));
            parts.push(Part::Argument(name.to_owned()));
            rest = after;
        }
        literal.push_str(rest);
        parts.push(Part::Text(literal));
        Ok(Template(parts))
    }

    /// Returns the names of its arguments.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Argument(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    pub(crate) fn fill(&self, argument: impl Fn(&str) -> String) -> String {
        let fill = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Argument(name) => argument(name),
        };
        self.0.iter().map(fill).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_filled_in_and_doubled_braces_are_braces() {
        let template = Template::read("account:{account}{{x}} of {bank}").unwrap();
        assert_eq!(template.arguments().collect::<Vec<_>>(), ["account", "bank"]);
        assert_eq!(template.fill(|name| name.to_uppercase()), "account:ACCOUNT{x} of BANK");
    }

    #[test]
    fn a_brace_alone_is_a_fault() {
        assert!(Template::read("a{b").is_err() && Template::read("a}b").is_err() && Template::read("{a{b}").is_ok());
    }
}
