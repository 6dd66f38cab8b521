"""jupyter_kernel_test 0.7.0, every test it has, against the installed ltune kernel."""

import unittest

import jupyter_kernel_test as suite


class Ltune(suite.KernelTests):
    kernel_name = "ltune"
    language_name = "ltune"
    file_extension = ".ltune"
    code_hello_world = 'print "hello, world"'
    # A learning rate of nothing is a warning, and warnings go to standard error.
    code_stderr = """model m { init = random { preset = tiny } }
data r { from = random; rows = 6; length = 8 tokens }
tune a { model = m; data = r; lr = 0; epochs = 2 }"""
    code_page_something = "step?"
    code_generate_error = "step nothing"
    code_execute_result = [
        {"code": "6 * 7", "result": "42"},
        {"code": '"tuned"', "result": '"tuned"'},
        {"code": "[1, 2]", "result": "[1, 2]"},
    ]
    code_display_data = [{"code": "let width = 2\nshow", "mime": "text/html"}]
    code_clear_output = ":clear"
    code_inspect_sample = "step"
    completion_samples = [{"text": "jour", "matches": ["journal"]}]
    complete_code_samples = ["step a 5", "tune a {\n  lr = 1e-4\n}", ""]
    incomplete_code_samples = ["tune a {", "plot loss,", 'let x = """abc\n']
    invalid_code_samples = ["step a )", "let = 3"]
    code_history_pattern = "6 ?*"
    supported_history_operations = ("tail", "range", "search")


class Welcome(suite.IopubWelcomeTests):
    kernel_name = "ltune"
    support_iopub_welcome = True


# What is inherited from is no test of ours.
del suite.KernelTests, suite.IopubWelcomeTests

if __name__ == "__main__":
    unittest.main(verbosity=2)
