//! Path templates of `google.api.http`: `/api/rest/v1/workspaces/{id}/file/{path=**}/upload`.
//!
//! A template is matched against the raw path, cut at each `/` before anything is decoded, so that `%2F` stays inside
//! its segment. Variables are decoded afterwards, segment by segment.

use std::ops::Range;

use percent_encoding::percent_decode_str;

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    text: String,
    segments: Vec<Segment>,
    variables: Vec<Variable>,
    /// Where `**` stands.
    deep: Option<usize>,
}

#[derive(Debug, PartialEq)]
enum Segment {
    Literal(String),
    /// `*`: exactly one segment, not empty.
    One,
    /// `**`: any number of segments.
    Many,
}

#[derive(Debug)]
struct Variable {
    field: String,
    span: Range<usize>,
}

/// A path variable is not UTF-8 once it is decoded.
#[derive(Debug, PartialEq)]
pub struct NotUtf8;

impl Template {
    /// Reads a template; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut template = Self { text: text.to_owned(), segments: Vec::new(), variables: Vec::new(), deep: None };
        let mut rest = text.strip_prefix('/').ok_or("a template begins with /")?;
        loop {
            let end = match rest.starts_with('{') {
                true => rest.find('}').ok_or("a { is not closed")? + 1,
                false => rest.find('/').unwrap_or(rest.len()),
            };
            let (part, tail) = rest.split_at(end);
            match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
                Some(variable) => template.push_variable(variable)?,
                None => template.push(part)?,
            }
            match tail.strip_prefix('/') {
                Some(tail) => rest = tail,
                None if tail.is_empty() => return Ok(template),
                None => return Err(format!("{tail:?} follows a variable; custom verbs are not supported")),
            }
        }
    }

    fn push_variable(&mut self, variable: &str) -> Result<(), String> {
        let (field, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
        let from = self.segments.len();
        pattern.split('/').try_for_each(|part| self.push(part))?;
        self.variables.push(Variable { field: field.to_owned(), span: from..self.segments.len() });
        Ok(())
    }

    fn push(&mut self, part: &str) -> Result<(), String> {
        let segment = match part {
            "" => return Err("a segment is empty".to_owned()),
            "*" => Segment::One,
            "**" if self.deep.is_some() => return Err("** may stand once only".to_owned()),
            "**" => {
                self.deep = Some(self.segments.len());
                Segment::Many
            }
            literal if literal.contains(['{', '}', '*', ':', '%']) => {
                return Err(format!("{literal:?} is no plain segment"));
            }
            literal => Segment::Literal(literal.to_owned()),
        };
        self.segments.push(segment);
        Ok(())
    }

    /// The template as the contract has it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The field paths of the variables.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|v| v.field.as_str())
    }

    /// The smallest number of segments of a path that can match, and whether there may be more.
    pub fn length(&self) -> (usize, bool) {
        match self.deep {
            Some(_) => (self.segments.len() - 1, true),
            None => (self.segments.len(), false),
        }
    }

    /// Orders templates by what they match: literals before `*` before `**`, segment by segment, longer ones first.
    pub fn rank(&self) -> Vec<u8> {
        let rank = |segment: &Segment| match segment {
            Segment::Literal(_) => 0,
            Segment::One => 1,
            Segment::Many => 2,
        };
        self.segments.iter().map(rank).chain([3]).collect()
    }

    /// Whether this path, cut at `/` and not decoded, matches.
    pub fn matches(&self, path: &[&str]) -> bool {
        let (least, more) = self.length();
        let long_enough = if more { path.len() >= least } else { path.len() == least };
        long_enough
            && self.segments.iter().enumerate().all(|(i, segment)| match segment {
                Segment::Literal(literal) => path[self.position(i, path.len())] == literal,
                Segment::One => !path[self.position(i, path.len())].is_empty(),
                Segment::Many => true,
            })
    }

    /// The decoded variables of a path that matches, in the order of [`fields`](Self::fields).
    pub fn capture<'a>(&'a self, path: &'a [&'a str]) -> impl Iterator<Item = Result<String, NotUtf8>> + 'a {
        self.variables.iter().map(move |variable| {
            let span = self.position(variable.span.start, path.len())..self.position(variable.span.end, path.len());
            decode(&path[span])
        })
    }

    /// Where a segment of the template begins in a path of this length.
    fn position(&self, segment: usize, path_len: usize) -> usize {
        match self.deep {
            Some(deep) if segment > deep => path_len - (self.segments.len() - segment),
            _ => segment,
        }
    }
}

fn decode(segments: &[&str]) -> Result<String, NotUtf8> {
    let mut out = String::new();
    for (i, segment) in segments.iter().enumerate() {
        if i > 0 {
            out.push('/');
        }
        out.push_str(&percent_decode_str(segment).decode_utf8().map_err(|_| NotUtf8)?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn capture(template: &str, path: &str) -> Option<Vec<String>> {
        let template = Template::parse(template).unwrap();
        let path: Vec<_> = path[1..].split('/').collect();
        template.matches(&path).then(|| template.capture(&path).map(|v| v.unwrap()).collect())
    }

    #[test]
    fn captures_variables() {
        let table: [(&str, &str, Option<&[&str]>); 13] = [
            ("/users/me", "/users/me", Some(&[])),
            ("/users/me", "/users/you", None),
            ("/users/{id}", "/users/7", Some(&["7"])),
            ("/users/{id}", "/users/", None),
            ("/users/{id}", "/users/7/8", None),
            ("/users/{id}/role/{role_id}", "/users/7/role/a%20b", Some(&["7", "a b"])),
            ("/w/{id}/file/{path=**}", "/w/1/file/a/b.txt", Some(&["1", "a/b.txt"])),
            ("/w/{id}/file/{path=**}", "/w/1/file/a%2Fb%2F", Some(&["1", "a/b/"])),
            ("/w/{id}/file/{path=**}", "/w/1/file/a/", Some(&["1", "a/"])),
            ("/w/{id}/file/{path=**}", "/w/1/file", Some(&["1", ""])),
            ("/w/{id}/file/{path=**}/upload/{u}", "/w/1/file/a/b/upload/u7", Some(&["1", "a/b", "u7"])),
            ("/w/{id}/file/{path=**}/upload/{u}", "/w/1/file/a/b/upload", None),
            ("/{name=shelves/*}/x", "/shelves/3/x", Some(&["shelves/3"])),
        ];
        for (template, path, want) in table {
            let want = want.map(|values| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>());
            assert_eq!(capture(template, path), want, "{template} {path}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_match() {
        for bad in ["users", "/a//b", "/{id", "/{a=**}/{b=**}", "/a/{id}:watch", "/a:watch", "/a*"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bad_escapes_are_an_error_and_no_replacement() {
        let template = Template::parse("/a/{x}").unwrap();
        assert_eq!(template.capture(&["a", "%ff"]).collect::<Vec<_>>(), [Err(NotUtf8)]);
        assert_eq!(template.capture(&["a", "%zz"]).collect::<Vec<_>>(), [Ok("%zz".to_owned())]);
    }

    proptest! {
        #[test]
        fn never_panics(template in "/[a-z{}=*/:]{0,20}", path in "/[a-z%0-9/]{0,30}") {
            if let Ok(template) = Template::parse(&template) {
                let path: Vec<_> = path[1..].split('/').collect();
                if template.matches(&path) {
                    prop_assert_eq!(template.capture(&path).count(), template.fields().count());
                }
            }
        }

        #[test]
        fn what_was_encoded_comes_back(name in "\\PC{1,20}") {
            let encoded = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC).to_string();
            let path = format!("/w/1/file/{encoded}/upload");
            prop_assert_eq!(capture("/w/{id}/file/{path=**}/upload", &path), Some(vec!["1".to_owned(), name]));
        }

        #[test]
        fn a_literal_ranks_before_a_variable(prefix in "(/[a-z]{1,5}){0,3}", literal in "[a-z]{1,8}", tail in "(/[a-z]{1,5}){0,2}") {
            let literal = Template::parse(&format!("{prefix}/{literal}{tail}")).unwrap();
            let one = Template::parse(&format!("{prefix}/{{id}}{tail}")).unwrap();
            let many = Template::parse(&format!("{prefix}/{{id=**}}{tail}")).unwrap();
            prop_assert!(literal.rank() < one.rank() && one.rank() < many.rank());
        }
    }
}
