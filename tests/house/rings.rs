//! Modules of a crate import each other in one direction only: no ring, so each can be read after those that it
//! names.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources;

/// Crates whose modules form no ring.
const WITHOUT_RINGS: &[&str] = &["keyspace", "rdb"];

/// Crates whose folders form no ring; within a folder modules may name each other.
const FOLDERS_WITHOUT_RINGS: &[&str] = &["engine"];

type Imports = BTreeMap<String, BTreeSet<String>>;

/// The modules of a crate, each with its code: `commit::apply` is `src/commit/apply.rs`.
fn modules(room: &str) -> BTreeMap<String, String> {
    let folder = format!("crates/{room}/src/");
    let mut found = BTreeMap::new();
    for source in sources::rust() {
        let Some(file) = source.path.strip_prefix(&folder) else { continue };
        if file.ends_with("/tests.rs") {
            continue;
        }
        let module = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        let lines: Vec<String> = source.code_lines().into_iter().map(|(_, line)| line).collect();
        found.insert(module, lines.join(" "));
    }
    found
}

/// The paths that begin with `crate::` or `super::` in the code of a module, groups taken apart.
fn paths(module: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        expand("", &code[at + "crate::".len()..], &mut found);
    }
    for (at, _) in code.match_indices("super::") {
        if !code[..at].ends_with("super::") {
            let (mut outer, mut rest) = (module, &code[at..]);
            while let Some(more) = rest.strip_prefix("super::") {
                (outer, rest) = (outer.rsplit_once("::").map_or("", |(outer, _)| outer), more);
            }
            expand(outer, rest, &mut found);
        }
    }
    found
}

/// Appends the paths that `rest` begins with; returns what is behind them.
fn expand<'a>(before: &str, rest: &'a str, found: &mut Vec<String>) -> &'a str {
    let rest = rest.trim_start();
    if let Some(mut group) = rest.strip_prefix('{') {
        loop {
            group = expand(before, group, found).trim_start();
            match group.strip_prefix(',') {
                Some(more) if more.trim_start().starts_with('}') => group = more.trim_start(),
                Some(more) => group = more,
                None => break,
            }
            if group.starts_with('}') {
                break;
            }
        }
        return group.strip_prefix('}').unwrap_or(group);
    }
    let len = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
    let (name, behind) = rest.split_at(len);
    let path = if before.is_empty() { name.to_owned() } else { format!("{before}::{name}") };
    match behind.strip_prefix("::") {
        Some(more) if !more.starts_with('<') => expand(&path, more, found),
        _ => {
            found.push(path);
            let alias = behind.trim_start().strip_prefix("as ");
            alias.map_or(behind, |alias| {
                alias.trim_start_matches(|c: char| c == '_' || c.is_alphanumeric())
            })
        }
    }
}

/// The module that a path leads into; `None` where the crate's root defines it.
fn module_of(path: &str, modules: &BTreeMap<String, String>, exports: &Imports) -> Option<String> {
    let mut prefix = path;
    loop {
        if modules.contains_key(prefix) {
            return Some(prefix.to_owned());
        }
        match prefix.rsplit_once("::") {
            Some((shorter, _)) => prefix = shorter,
            None => break,
        }
    }
    let exporting = exports.iter().find(|(_, names)| names.contains(prefix));
    exporting.map(|(module, _)| module.clone())
}

/// What the crate's root exports, by module.
fn exports(root: &str, modules: &BTreeMap<String, String>) -> Imports {
    let mut exports = Imports::new();
    for (at, _) in root.match_indices("pub use ") {
        let mut found = Vec::new();
        expand("", &root[at + "pub use ".len()..], &mut found);
        for path in found {
            if let Some((module, name)) = path.rsplit_once("::")
                && modules.contains_key(module)
            {
                exports.entry(module.to_owned()).or_default().insert(name.to_owned());
            }
        }
    }
    exports
}

/// A module and its own submodules are one: they may name each other.
fn is_within(one: &str, other: &str) -> bool {
    let begins = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with("::"))
    };
    one == other || begins(one, other) || begins(other, one)
}

fn imports(room: &str) -> Imports {
    let modules = modules(room);
    let exports = exports(&modules["lib"], &modules);
    let import = |(module, code): (&String, &String)| {
        let named =
            paths(module, code).into_iter().filter_map(|path| module_of(&path, &modules, &exports));
        let others = named.filter(|other| !is_within(module, other));
        (module.clone(), others.collect())
    };
    modules.iter().filter(|(module, _)| *module != "lib").map(import).collect()
}

/// A way from a module back to itself.
fn ring(imports: &Imports) -> Option<Vec<String>> {
    fn follow(imports: &Imports, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        let last = way.last().expect("a way begins somewhere").clone();
        for next in &imports[&last] {
            if let Some(at) = way.iter().position(|module| module == next) {
                way.drain(..at);
                return true;
            }
            if !done.contains(next) {
                way.push(next.clone());
                if follow(imports, way, done) {
                    return true;
                }
                way.pop();
            }
        }
        done.insert(last);
        false
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| {
        let mut way = vec![module.clone()];
        follow(imports, &mut way, &mut done).then_some(way)
    })
}

/// The folder of a module, or the module itself where it stands beside the folders.
fn folder_of(module: &str) -> String {
    module.split("::").next().expect("a module has a name").to_owned()
}

#[test]
fn folders_form_no_ring() {
    for room in FOLDERS_WITHOUT_RINGS {
        let mut folders = Imports::new();
        for (module, others) in imports(room) {
            let own = folders.entry(folder_of(&module)).or_default();
            own.extend(others.iter().map(|other| folder_of(other)));
        }
        folders.iter_mut().for_each(|(own, others)| _ = others.remove(own));
        let edges: usize = folders.values().map(BTreeSet::len).sum();
        assert!(edges > folders.len(), "{room}: only {edges} imports found: the search is broken");
        assert_eq!(ring(&folders), None, "{room}: these import each other in a ring: {folders:#?}");
    }
}

#[test]
fn modules_form_no_ring() {
    for room in WITHOUT_RINGS {
        let imports = imports(room);
        let edges: usize = imports.values().map(BTreeSet::len).sum();
        assert!(edges > imports.len(), "{room}: only {edges} imports found: the search is broken");
        assert_eq!(ring(&imports), None, "{room}: these import each other in a ring");
    }
}

#[test]
fn a_ring_is_found_and_groups_are_taken_apart() {
    let code = "use crate::{a::{self, B}, c::D as E}; fn f() -> crate::G<u8> { crate::h::i(1) }";
    assert_eq!(paths("m", code), ["a::self", "a::B", "c::D", "G", "h::i"]);
    let code = "use super::{d, e::F}; use super::super::G;";
    assert_eq!(paths("a::b::c", code), ["a::b::d", "a::b::e::F", "a::G"]);
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let mut imports = Imports::from([
        ("a".to_owned(), set(&["b", "c"])),
        ("b".to_owned(), set(&["c"])),
        ("c".to_owned(), set(&[])),
    ]);
    assert_eq!(ring(&imports), None);
    imports.insert("c".to_owned(), set(&["a"]));
    assert_eq!(ring(&imports), Some(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]));
}
