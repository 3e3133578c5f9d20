//! Compares the code's imports with its plan: no file imports itself through others, and no wing of
//! `shared` imports one that it must not know (ARCHITECTURE.md, "Code map").
//!
//! Imports are read as text: every path that begins with `crate`, `self`, `super` or the file's own
//! child modules, in `use` and elsewhere, except in unit tests. It is an import of the last module in it:
//! `super::Item` imports the parent, even if the parent only re-exports the item. Declaring a child is
//! not an import of it; using or re-exporting something of it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// For each wing of `shared`, the wings that none of its files may import.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("database", &["problem", "store", "http", "lambda"]),
    ("problem", &["store", "http", "lambda"]),
    ("store", &["http", "lambda"]),
    ("http", &["store", "lambda"]),
];

/// The wings. All other modules of `shared` are its ground, and import none of them.
const WINGS: [&str; 5] = ["database", "problem", "store", "http", "lambda"];

/// The last parts of a path; none for the root of the crate (`lib.rs`).
type Module = Vec<String>;

static USE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?m)^\s*(?:pub(?:\([\w: ]+\))? )?use ([\w:{},*\s]+);").unwrap());
static PATH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:^|[^\w:])((?:\w+::)+\w+)").unwrap());

/// The modules of a crate, and what each imports.
fn imports(source: &Path) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut files = Vec::new();
    collect(source, &mut files);
    let modules: BTreeSet<Module> = files.iter().map(|file| module(source, file)).collect();
    files
        .iter()
        .map(|file| {
            let own = module(source, file);
            let text = std::fs::read_to_string(file).unwrap();
            let mut imported: BTreeSet<Module> = paths(&text)
                .iter()
                .filter_map(|path| target(&own, path, &modules))
                .collect();
            imported.remove(&own);
            (own, imported)
        })
        .collect()
}

/// The paths in a file, outside its comments and unit tests.
fn paths(text: &str) -> Vec<Vec<String>> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = text.lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    let text: Vec<&str> = lines.collect();
    let text = text.join("\n");
    let mut paths = Vec::new();
    for found in USE.captures_iter(&text) {
        unfold("", &found[1], &mut paths);
    }
    let text = USE.replace_all(&text, "");
    paths.extend(PATH.captures_iter(&text).map(|found| found[1].to_owned()));
    paths
        .iter()
        .map(|path| path.split("::").map(str::to_owned).collect())
        .collect()
}

/// Adds the paths that a `use` names: `a::{b, c::{self, d}}` are `a::b`, `a::c::self` and `a::c::d`.
fn unfold(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let (mut depth, mut start) = (0, 0);
    let ends = tree.char_indices().chain([(tree.len(), ',')]);
    for (end, character) in ends {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let branch = tree[start..end].trim();
                start = end + 1;
                match branch.split_once('{') {
                    Some((path, rest)) => {
                        let rest = rest.strip_suffix('}').unwrap();
                        unfold(&format!("{prefix}{path}"), rest, paths);
                    }
                    None if branch.is_empty() => {}
                    None => {
                        let name = branch.split(' ').next().unwrap();
                        paths.push(format!("{prefix}{name}"));
                    }
                }
            }
            _ => {}
        }
    }
}

/// The module that a path in the module `own` leads to; `None` if that is not in this crate.
fn target(own: &Module, path: &[String], modules: &BTreeSet<Module>) -> Option<Module> {
    let mut base = own.clone();
    let mut rest = path;
    match rest[0].as_str() {
        "crate" => {
            base.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        child => {
            base.push(child.to_owned());
            if !modules.contains(&base) {
                return None;
            }
            rest = &rest[1..];
        }
    }
    base.extend_from_slice(rest);
    while !modules.contains(&base) {
        base.pop()?;
    }
    Some(base)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// `database/mod.rs` is `["database"]`.
fn module(source: &Path, file: &Path) -> Module {
    let path = file.strip_prefix(source).unwrap().with_extension("");
    let mut parts: Module = path
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    let is_named_by_folder = matches!(parts.last().map(String::as_str), Some("mod" | "lib"));
    if is_named_by_folder {
        parts.pop();
    }
    parts
}

fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let crates = [
        "shared/src",
        "shared/assistant/src",
        "local/src",
        "tests/rig",
        "tests/support",
    ];
    let mut sources = crates.map(|path| root.join(path)).to_vec();
    for entry in std::fs::read_dir(root.join("functions")).unwrap() {
        sources.push(entry.unwrap().path().join("src"));
    }
    sources
}

/// A path of imports from a module back to itself, if there is one.
fn circle(imports: &BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> Option<Vec<Module>> {
    let mut ways = vec![vec![from.clone()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in &imports[way.last().unwrap()] {
            if next == from {
                return Some(way);
            }
            if seen.insert(next.clone()) {
                ways.push([way.clone(), vec![next.clone()]].concat());
            }
        }
    }
    None
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "
        //! [`crate::comment`]
        mod child;
        pub(crate) use child::{Item, deep::{self, Other as Name}};
        use super::{Parent, sibling};
        use std::sibling::Foreign;
        fn run() -> crate::Root {
            self::child::run(super::super::sibling::VALUE, \"two\")
        }
        #[cfg(test)]
        mod tests {
            use crate::unit_test;
        }";
    let unindented = text.replace("\n        ", "\n");
    let module = |name: &str| -> Module { name.split_whitespace().map(str::to_owned).collect() };
    let names = [
        "",
        "a",
        "a b",
        "a b child",
        "a b child deep",
        "a sibling",
        "sibling",
        "comment",
        "unit_test",
    ];
    let modules: BTreeSet<Module> = names.map(module).into();
    let own = module("a b");
    let found = paths(&unindented);
    let found = found.iter().filter_map(|path| target(&own, path, &modules));
    let expected = [
        "",
        "a",
        "a b child",
        "a b child deep",
        "a sibling",
        "sibling",
    ];
    assert_eq!(found.collect::<BTreeSet<_>>(), expected.map(module).into());
}

#[test]
fn no_file_imports_itself_through_others() {
    for source in sources() {
        let imports = imports(&source);
        assert!(!imports.is_empty(), "{}", source.display());
        for module in imports.keys() {
            let circle = circle(&imports, module);
            assert!(circle.is_none(), "{}: {circle:?}", source.display());
        }
    }
}

#[test]
fn no_wing_imports_a_forbidden_module() {
    let imports = imports(&sources()[0]);
    assert!(imports.len() > 30, "{imports:?}");
    // Through a re-export, every module could reach every other.
    let of_root = &imports[&Module::new()];
    assert!(of_root.is_empty(), "lib.rs must not import {of_root:?}");
    for (module, imported) in &imports {
        let Some(part) = module.first() else {
            continue;
        };
        let forbidden = FORBIDDEN.iter().find(|(wing, _)| wing == part);
        let forbidden = match forbidden {
            Some((_, forbidden)) => *forbidden,
            None if part == "lambda" => &[],
            None => &WINGS,
        };
        for other in imported {
            let breaks = other
                .first()
                .is_some_and(|part| forbidden.contains(&part.as_str()));
            assert!(!breaks, "{module:?} must not import {other:?}");
        }
    }
}

#[test]
fn the_assistant_knows_no_http() {
    let mut files = Vec::new();
    collect(&sources()[1], &mut files);
    assert!(files.len() > 8, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("shared::http"), "{}", file.display());
    }
}
