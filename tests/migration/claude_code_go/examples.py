"""What the document of claude-code-api (Go) shows of ``claude_options``, without indentation and blanks at lines' ends.

The paths in them, and the id of a session, are what a user puts others in the place of.
"""

from typing import Final

DOCUMENTS: Final = """\
# Example: Batch document processing using Claude Code API
import openai

# Point to your Claude Code API server
client = openai.OpenAI(
    api_key="your-api-key",
    base_url="http://localhost:8082/v1"
)

def process_documents(documents):
    results = []
    for doc in documents:
        response = client.chat.completions.create(
            model="claude-code",
            messages=[{"role": "user", "content": f"Analyze this document: {doc}"}],
            extra_body={
                "claude_options": {
                    "tools": ["Read", "Grep"],  # Enable file reading tools
                    "working_dir": "/path/to/documents"
                }
            }
        )
        results.append(response.choices[0].message.content)
    return results
"""
CLIENT: Final = DOCUMENTS.partition("\ndef ")[0]
CODEBASE: Final = """\
# Example: Using Claude with file operations
response = client.chat.completions.create(
    model="claude-code",
    messages=[{"role": "user", "content": "Analyze this codebase and suggest improvements"}],
    extra_body={
        "claude_options": {
            "tools": ["Bash", "Edit", "Read", "Grep"],  # Enable specific tools
            "working_dir": "/path/to/project",          # Set working directory
            "session_id": "abc123",                     # Resume a session
            "files": ["config.json", "main.py"],       # Include files in context
            "images": ["diagram.png"]                   # Include images
        }
    }
)
"""
ANALYSIS: Final = """\
response = client.chat.completions.create(
    model="claude-code",
    messages=[{
        "role": "user",
        "content": "Please analyze the code structure and suggest improvements. Check for any security issues and \
optimize the performance."
    }],
    extra_body={
        "claude_options": {
            "tools": ["Read", "Grep", "Edit"],  # Allow reading, searching, and editing files
            "working_dir": "/Users/john/myproject",
            "files": ["src/main.py", "src/utils.py", "config.json"]
        }
    }
)
"""
TESTS: Final = """\
response = client.chat.completions.create(
    model="claude-code",
    messages=[{
        "role": "user",
        "content": "Run the test suite, identify failing tests, and fix the issues"
    }],
    extra_body={
        "claude_options": {
            "tools": ["Bash", "Read", "Edit"],  # Can run commands and fix code
            "working_dir": "/Users/john/myproject",
            "model": "opus"  # Use the most capable model
        }
    }
)
"""
PICTURE: Final = """\
response = client.chat.completions.create(
    model="claude-code",
    messages=[{
        "role": "user",
        "content": "Look at this UI design mockup and create a React component that matches it"
    }],
    extra_body={
        "claude_options": {
            "tools": ["Read", "Write"],
            "images": ["/Users/john/designs/login-page.png"],
            "working_dir": "/Users/john/react-app/src/components"
        }
    }
)
"""
CONTINUED: Final = """\
response = client.chat.completions.create(
    model="claude-code",
    messages=[{
        "role": "user",
        "content": "Continue working on the refactoring we started earlier"
    }],
    extra_body={
        "claude_options": {
            "session_id": "abc123",  # Resume specific session
            "tools": ["Read", "Edit", "Bash"]
        }
    }
)
"""
DEBUGGED: Final = """\
response = client.chat.completions.create(
    model="claude-code",
    messages=[{
        "role": "user",
        "content": "Debug why the application is crashing on startup"
    }],
    extra_body={
        "claude_options": {
            "tools": ["Read", "Grep"],  # Read-only access
            "disallowed_tools": ["Edit", "Write", "Bash"],  # Prevent modifications
            "working_dir": "/Users/john/production-app",
            "debug": True  # Enable debug output
        }
    }
)
"""
APPROVED: Final = """\
response = client.chat.completions.create(
    model="claude-code",
    messages=[{
        "role": "user",
        "content": "Refactor the entire codebase to use async/await"
    }],
    extra_body={
        "claude_options": {
            "tools": ["Read", "Edit", "Write", "Bash"],
            "working_dir": "/Users/john/myproject",
            "auto_allow_permissions": True  # Skip ALL permission prompts!
        }
    }
)
"""
PATHS: Final = ("/path/to/documents", "/path/to/project", "/Users/john")
