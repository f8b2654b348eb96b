"""Modules whose packages have other names, which people confuse: ``import sklearn`` comes with *scikit-learn*."""

from __future__ import annotations

from packaging.utils import canonicalize_name

DISTRIBUTIONS: dict[str, str] = {
    "attr": "attrs",
    "azure.ai.inference": "azure-ai-inference",
    "azure.core": "azure-core",
    "azure.identity": "azure-identity",
    "azure.search": "azure-search-documents",
    "azure.storage.blob": "azure-storage-blob",
    "bs4": "beautifulsoup4",
    "Crypto": "pycryptodome",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "discord": "discord.py",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "duckduckgo_search": "duckduckgo-search",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "git": "GitPython",
    "google.api_core": "google-api-core",
    "google.auth": "google-auth",
    "google.cloud.aiplatform": "google-cloud-aiplatform",
    "google.cloud.bigquery": "google-cloud-bigquery",
    "google.cloud.storage": "google-cloud-storage",
    "google.genai": "google-genai",
    "google.generativeai": "google-generativeai",
    "google.oauth2": "google-auth",
    "google.protobuf": "protobuf",
    "googleapiclient": "google-api-python-client",
    "grpc": "grpcio",
    "jose": "python-jose",
    "jwt": "PyJWT",
    "Levenshtein": "python-Levenshtein",
    "llama_index": "llama-index",
    "magic": "python-magic",
    "mcp": "mcp",
    "MySQLdb": "mysqlclient",
    "nacl": "PyNaCl",
    "OpenSSL": "pyOpenSSL",
    "PIL": "pillow",
    "pinecone": "pinecone",
    "playwright": "playwright",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "pydantic_settings": "pydantic-settings",
    "qdrant_client": "qdrant-client",
    "sentence_transformers": "sentence-transformers",
    "serpapi": "google-search-results",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "socketio": "python-socketio",
    "socks": "PySocks",
    "speech_recognition": "SpeechRecognition",
    "telegram": "python-telegram-bot",
    "tree_sitter": "tree-sitter",
    "usb": "pyusb",
    "websocket": "websocket-client",
    "win32api": "pywin32",
    "yaml": "PyYAML",
    "youtube_transcript_api": "youtube-transcript-api",
    "zmq": "pyzmq",
}
"""The packages of modules that are called otherwise, or that many ask for; others are taken to be called alike."""

_MEANT: dict[str, str] = {
    canonicalize_name(module): package
    for module, package in DISTRIBUTIONS.items()
    if "." not in module and canonicalize_name(module) != canonicalize_name(package)
}


def meant(name: str) -> str:
    """Returns the package that is meant by a normalised name that is a module's; empty when it is none."""
    return _MEANT.get(name, "")


def mistaken(name: str, package: str) -> str:
    """Returns the sentence about the name of a module in the place of its package's."""
    return f"{name} is the name of a module, and the package that brings it is {package}: ask for that."
