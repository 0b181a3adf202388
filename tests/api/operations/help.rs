//! `--help`.

use std::process::Command;

use shortline::did_stock::NewAvailableDid;
use shortline::input::Input;

fn help(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shortline"));
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_of_a_command_has_its_own_options_and_one_line_about_settings() {
    for arguments in [
        &["serve", "--help"][..],
        &["partner", "create", "--help"],
        &["partner", "create", "-h"],
        &["help", "partner", "create"],
        &["--log", "warn", "token", "issue", "--help"],
    ] {
        let text = help(arguments);
        assert!(!text.contains("--trusted-proxies"), "{arguments:?}: {text}");
        let about: Vec<_> = text.lines().filter(|line| line.contains("--database-url")).collect();
        assert_eq!(about.len(), 1, "{arguments:?}: {text}");
        assert!(about[0].contains("shortline --help"), "{}", about[0]);
    }
    let text = help(&["partner", "create", "--help"]);
    assert!(text.find("--parent <SID>") < text.find("--database-url"), "{text}");
    for arguments in [&["--help"], &["-h"]] {
        let text = help(arguments);
        for setting in ["--database-url", "--trusted-proxies", "--public-url"] {
            assert!(text.contains(setting), "{text}");
        }
    }
}

#[test]
fn help_of_import_names_every_column() {
    let document: serde_json::Value = serde_json::from_str(&help(&["openapi"])).unwrap();
    // The members that a number has only while it is rented.
    let rented = NewAvailableDid::READ_ONLY.iter().filter(|name| **name != "did_sid");
    let ignored = rented.copied().chain(["partner"]).collect::<Vec<_>>();
    for (command, schema, ignored) in
        [("short-code", "ShortCode", &["partner"][..]), ("did", "NewAvailableDid", &ignored)]
    {
        let text = help(&[command, "import", "--help"]);
        let members = &document["components"]["schemas"][schema]["properties"];
        let members = members.as_object().unwrap();
        assert!(members.len() > 10);
        for member in members.keys().filter(|name| !ignored.contains(&name.as_str())) {
            assert!(text.contains(member.as_str()), "{member}: {text}");
        }
    }
}
