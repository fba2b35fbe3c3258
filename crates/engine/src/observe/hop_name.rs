//! Hop name: what a hop of a coordinator is part of, for the log.

use std::fmt;

/// A command, and the function that asked for the hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HopName {
    /// `None` if no client asked.
    pub command: Option<&'static str>,
    /// Empty if the command is a name enough.
    function: &'static str,
}

impl HopName {
    /// The name of a hop that is this closure.
    pub(crate) fn of<F>() -> Self {
        Self { command: None, function: function_of(std::any::type_name::<F>()) }
    }

    pub(crate) fn of_command(command: &'static str) -> Self {
        Self { command: Some(command), function: "" }
    }
}

/// The path within its crate of the function that a closure stands in.
fn function_of(closure: &'static str) -> &'static str {
    let path = closure.split_once("::").map_or(closure, |(_, path)| path);
    let end = ["<", "::{{closure}}"].iter().filter_map(|mark| path.find(mark)).min();
    &path[..end.unwrap_or(path.len())]
}

impl fmt::Display for HopName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.command {
            Some(command) if self.function.is_empty() => out.write_str(command),
            Some(command) => write!(out, "{command}: {}", self.function),
            None => out.write_str(self.function),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closure_name<T, F: Fn(T)>(_: F) -> HopName {
        HopName::of::<F>()
    }

    #[test]
    fn a_hop_is_named_after_its_command_and_function() {
        fn generic<T>(value: T) -> HopName {
            closure_name(move |_: u8| _ = &value)
        }
        let name = closure_name(|_: u8| ());
        let function = "observe::hop_name::tests::a_hop_is_named_after_its_command_and_function";
        assert_eq!(name.to_string(), function);
        let name = HopName { command: Some("rename"), ..generic("x") };
        assert_eq!(name.to_string(), format!("rename: {function}::generic"));
        assert_eq!(HopName::of_command("mset").to_string(), "mset");
    }
}
