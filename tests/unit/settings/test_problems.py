"""What a person is told about a configuration that cannot be used."""

from proxy.settings.problems import ConfigurationError, Problem


def test_an_error_lists_every_problem_on_a_line_of_its_own() -> None:
    """Protects a start that names all mistakes at once instead of one a try."""
    error = ConfigurationError([Problem("PORT", "expected a port"), Problem("PROXY", "is empty")])
    assert str(error) == "PORT: expected a port\nPROXY: is empty"
    assert [problem.setting for problem in error.problems] == ["PORT", "PROXY"]
