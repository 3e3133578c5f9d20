//! Compares the code's imports with its plan: no two files import each other, and no wing of `shared`
//! imports one that it must not know (ARCHITECTURE.md, "Code map").
//!
//! Imports are read as text: every path that begins with `crate` or `super`, except in unit tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

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

type Module = Vec<String>;

/// The modules of a crate, and what each imports.
fn imports(source: &Path) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut files = Vec::new();
    collect(source, &mut files);
    let modules: BTreeSet<Module> = files.iter().map(|file| module(source, file)).collect();
    let find = |mut path: Module| {
        while !modules.contains(&path) {
            path.pop();
        }
        path
    };
    let path = Regex::new(r"\b(crate|super|self)((?:::\w+)+)(?:::\{([^}]*)\})?").unwrap();
    let word = Regex::new(r"\w+").unwrap();
    files
        .iter()
        .map(|file| {
            let own = module(source, file);
            let text = std::fs::read_to_string(file).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            let text: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            let mut imported = BTreeSet::new();
            for found in path.captures_iter(&text.join("\n")) {
                let mut base = match &found[1] {
                    "crate" => Vec::new(),
                    "super" => own[..own.len().saturating_sub(1)].to_vec(),
                    _ => own.clone(),
                };
                base.extend(found[2].split("::").skip(1).map(str::to_owned));
                match found.get(3) {
                    None => {
                        imported.insert(find(base));
                    }
                    Some(names) => {
                        for name in word.find_iter(names.as_str()) {
                            let mut path = base.clone();
                            path.push(name.as_str().to_owned());
                            imported.insert(find(path));
                        }
                    }
                }
            }
            imported.remove(&own);
            // The root is left out: it declares the modules and what all of them share.
            imported.remove(&Vec::new());
            (own, imported)
        })
        .collect()
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
    let mut sources = ["shared/src", "shared/assistant/src", "local/src"]
        .map(|path| root.join(path))
        .to_vec();
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
fn no_two_files_import_each_other() {
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
