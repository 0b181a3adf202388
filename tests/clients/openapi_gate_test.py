#!/usr/bin/env python3
"""Tests `scripts/openapi-gate` with changes of the binary's OpenAPI document, SHORTLINE."""

import copy
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).parent.parent.parent
loader = importlib.machinery.SourceFileLoader("openapi_gate", f"{ROOT}/scripts/openapi-gate")
gate = importlib.util.module_from_spec(importlib.util.spec_from_loader("openapi_gate", loader))
loader.exec_module(gate)

SHORTLINE = os.environ.get("SHORTLINE", f"{ROOT}/target/debug/shortline")
DOCUMENT = json.loads(subprocess.check_output([SHORTLINE, "openapi"]))
BASELINE = gate.Surface(DOCUMENT).lines
SHORT_CODES = "/core/v2/phonenumber/short_codes"
BODY = f"POST {SHORT_CODES} body application/json"


class GateTest(unittest.TestCase):
    def setUp(self):
        self.document = copy.deepcopy(DOCUMENT)
        self.create = self.document["paths"][SHORT_CODES]["post"]
        self.body = self.json_schema(self.create["requestBody"])
        self.short_code = self.json_schema(self.create["responses"]["200"])
        partner = self.document["components"]["schemas"]["Partner"]
        self.status = self.resolve(partner["properties"]["status"])

    def resolve(self, schema):
        return self.document["components"]["schemas"][schema["$ref"].split("/")[-1]]

    def json_schema(self, message):
        return self.resolve(message["content"]["application/json"]["schema"])

    def breaking_changes(self):
        return list(gate.breaking_changes(BASELINE, gate.Surface(self.document)))

    def assert_breaks(self, *expected):
        found = self.breaking_changes()
        for line in expected:
            self.assertIn(line, found)

    def test_the_same_document_passes(self):
        self.assertEqual(self.breaking_changes(), [])

    def test_a_removed_operation_breaks_with_one_line(self):
        del self.document["paths"][SHORT_CODES]["post"]
        self.assertEqual(self.breaking_changes(), [f"disappeared: POST {SHORT_CODES}"])

    def test_a_renamed_operation_breaks(self):
        self.create["operationId"] = "create"
        self.assert_breaks(f"disappeared: POST {SHORT_CODES} operationId post_short_code")

    def test_a_removed_parameter_breaks(self):
        parameters = self.create["parameters"]
        parameters[:] = [each for each in parameters if each.get("name") != "validate_only"]
        self.assert_breaks(f"disappeared: POST {SHORT_CODES} query validate_only: boolean")

    def test_a_removed_status_breaks(self):
        del self.create["responses"]["409"]
        self.assertEqual(self.breaking_changes(), [f"disappeared: POST {SHORT_CODES} 409"])

    def test_a_removed_member_of_a_request_breaks(self):
        del self.body["properties"]["state"]
        self.assert_breaks(f"disappeared: {BODY}.state: string")

    def test_a_removed_member_of_a_response_breaks(self):
        del self.short_code["properties"]["state"]
        self.assert_breaks(f"disappeared: POST {SHORT_CODES} 200 application/json.state: string")

    def test_a_removed_enum_value_breaks(self):
        self.status["enum"].remove("suspended")
        self.assert_breaks(
            "disappeared: GET /core/v2/partners 200 application/json.items[].status = suspended"
        )

    def test_an_enum_for_a_former_string_breaks(self):
        self.body["properties"]["country_code"]["enum"] = ["USA"]
        self.assert_breaks(f"disappeared: {BODY}.country_code: string")

    def test_a_newly_required_member_breaks(self):
        self.body["required"].append("name")
        self.assertEqual(self.breaking_changes(), [f"newly required: {BODY}.name"])

    def test_a_newly_required_parameter_breaks(self):
        parameter = {"in": "query", "name": "new", "required": True, "schema": {"type": "string"}}
        self.create["parameters"].append(parameter)
        self.assertEqual(self.breaking_changes(), [f"newly required: POST {SHORT_CODES} query new"])

    def test_additions_pass(self):
        self.document["paths"]["/core/v2/new"] = {"post": copy.deepcopy(self.create)}
        self.short_code["properties"]["new"] = {"type": "string"}
        self.status["enum"].append("closed")
        inner = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
        self.body["properties"]["new"] = inner
        self.create["responses"]["418"] = {"description": "New"}
        self.assertEqual(self.breaking_changes(), [])

    def test_a_renamed_schema_passes(self):
        text = json.dumps(self.document).replace("ShortCode", "Number")
        self.document = json.loads(text)
        self.assertEqual(self.breaking_changes(), [])


if __name__ == "__main__":
    unittest.main()
