from __future__ import annotations


async def words(pipe, *contents) -> list[str]:
    messages = [{"role": "user", "content": content} for content in contents]
    return [word async for word in pipe.pipe({"model": "echo", "messages": messages})]


async def test_it_answers_with_the_last_user_message_word_by_word(example):
    assert await words(example("echo"), "first", "one  two\n three ") == ["one", "  two", "\n three", " "]


async def test_the_text_of_content_parts_is_found(example):
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    assert await words(example("echo"), parts) == ["look"]


async def test_a_message_without_text_gets_an_answer_too(example):
    assert await words(example("echo"), "") == ["(your message has no text)"]
    assert await words(example("echo")) == ["(your message has no text)"]
