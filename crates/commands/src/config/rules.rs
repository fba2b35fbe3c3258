//! Validation rules of texts, each named after its parameter or type.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) fn dbfilename(text: &str) -> Result<(), &'static str> {
    base_name(text, "dbfilename can't be a path, just a filename")
}

pub(super) fn appendfilename(text: &str) -> Result<(), &'static str> {
    not_empty(text, "appendfilename can't be empty")?;
    base_name(text, "appendfilename can't be a path, just a filename")
}

pub(super) fn appenddirname(text: &str) -> Result<(), &'static str> {
    not_empty(text, "appenddirname can't be empty")?;
    base_name(text, "appenddirname can't be a path, just a dirname")
}

pub(super) fn host_name(text: &str) -> Result<(), &'static str> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if text.len() >= 256 {
        return Err("Hostnames must be less than 256 characters");
    }
    if !text.chars().all(is_allowed) {
        return Err("Hostnames may only contain alphanumeric characters, hyphens or dots");
    }
    Ok(())
}

pub(super) fn hash_seed(text: &str) -> Result<(), &'static str> {
    match text.len() {
        ..=256 => Ok(()),
        _ => Err("hash-seed must be less than or equal to 256 characters"),
    }
}

pub(super) fn node_name(text: &str) -> Result<(), &'static str> {
    if text.contains(|c| "!#$%&()*+:;<>?@[]^{|}~".contains(c)) {
        return Err("Announced human node name contained invalid character");
    }
    Ok(())
}

pub(super) fn ipv4_address(text: &str) -> Result<(), &'static str> {
    let is_right = text.is_empty() || text.parse::<Ipv4Addr>().is_ok();
    if is_right { Ok(()) } else { Err("Invalid IPv4 address") }
}

pub(super) fn ipv6_address(text: &str) -> Result<(), &'static str> {
    let is_right = text.is_empty() || text.parse::<Ipv6Addr>().is_ok();
    if is_right { Ok(()) } else { Err("Invalid IPv6 address") }
}

/// `{name}` must be a known name, `{{` is a brace, and the result must not be empty.
pub(super) fn proc_title_template(text: &str) -> Result<(), &'static str> {
    const NAMES: &[&str] =
        &["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];
    let refusal = "template format is invalid or contains unknown variables";
    not_empty(text, refusal)?;
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('{') {
        rest = match after.strip_prefix('{') {
            Some(after) => after,
            None => {
                let (name, after) = after.split_once('}').ok_or(refusal)?;
                if !NAMES.contains(&name) {
                    return Err(refusal);
                }
                after
            }
        };
    }
    Ok(())
}

fn base_name(text: &str, refusal: &'static str) -> Result<(), &'static str> {
    if text.contains(['/', '\\']) { Err(refusal) } else { Ok(()) }
}

fn not_empty(text: &str, refusal: &'static str) -> Result<(), &'static str> {
    if text.is_empty() { Err(refusal) } else { Ok(()) }
}
