package org.tinyaya.demo.template

import org.tinyaya.demo.bundle.ChatTemplateError

/** What a template is made of. */
internal sealed interface Piece

/** Text that goes out as it is. */
internal data class TextPiece(val text: String) : Piece

/** `{{ ... }}`. */
internal data class OutputPiece(val tokens: List<Lexeme>, val line: Int) : Piece

/** `{% ... %}`. */
internal data class TagPiece(val tokens: List<Lexeme>, val line: Int) : Piece

/** A word of an expression; [kind] says what [text] is. */
internal data class Lexeme(val kind: Kind, val text: String) {
    enum class Kind { NAME, NUMBER, STRING, SIGN }
}

/** A template's source in, its pieces out, white space trimmed as with trim_blocks and lstrip_blocks. */
internal class TemplateLexer(source: String) {
    private val source = source.replace("\r\n", "\n").removeSuffix("\n")
    private val pieces = mutableListOf<Piece>()
    private var at = 0
    private var startsLine = true

    fun pieces(): List<Piece> {
        while (at < source.length) {
            val open = nextTag()
            text(source.substring(at, open), open)
            if (open == source.length) break
            tag(open)
        }
        return pieces
    }

    private fun nextTag(): Int {
        var open = source.indexOf('{', at)
        while (open >= 0 && (open + 1 >= source.length || source[open + 1] !in "{%#")) open = source.indexOf('{', open + 1)
        return if (open < 0) source.length else open
    }

    private fun text(raw: String, open: Int) {
        val sign = source.getOrNull(open + 2)
        val isBlock = open < source.length && source[open + 1] != '{'
        val line = raw.lastIndexOf('\n') + 1
        val text =
            when {
                open < source.length && sign == '-' -> raw.trimEnd()
                isBlock && sign != '+' && (line > 0 || startsLine) && raw.substring(line).isBlank() -> raw.substring(0, line)
                else -> raw
            }
        if (text.isNotEmpty()) pieces += TextPiece(text)
    }

    private fun tag(open: Int) {
        val kind = source[open + 1]
        val close = if (kind == '{') "}}" else "$kind}"
        val line = source.substring(0, open).count { it == '\n' } + 1
        var start = open + 2
        if (source.getOrNull(start) == '-' || source.getOrNull(start) == '+') start++
        val end = if (kind == '#') source.indexOf(close, start) else tagEnd(start, close, line)
        if (end < 0) throw broken(line, "'{$kind' without '$close'")
        val sign = source[end - 1].takeIf { end > start && (it == '-' || it == '+' && kind != '{') }
        val inner = source.substring(start, if (sign != null) end - 1 else end)
        at = end + 2
        if (sign == '-') {
            while (at < source.length && source[at].isWhitespace()) at++
        } else if (kind != '{' && sign != '+' && source.getOrNull(at) == '\n') {
            at++
        }
        startsLine = source[at - 1] == '\n'
        when (kind) {
            '{' -> pieces += OutputPiece(lexemes(inner, line), line)
            '%' -> pieces += TagPiece(lexemes(inner, line), line)
        }
    }

    /** Strings may hold what would end the tag. */
    private fun tagEnd(start: Int, close: String, line: Int): Int {
        var here = start
        var braces = 0
        while (here < source.length) {
            val char = source[here]
            if (braces == 0 && source.startsWith(close, here)) return here
            when (char) {
                '\'', '"' -> here = stringEnd(source, here, line)
                '{' -> braces++
                '}' -> braces--
            }
            here++
        }
        return -1
    }

    private fun lexemes(text: String, line: Int): List<Lexeme> {
        val words = mutableListOf<Lexeme>()
        var here = 0
        while (here < text.length) {
            val char = text[here]
            val end =
                when {
                    char.isWhitespace() -> here + 1
                    char.isLetter() || char == '_' -> wordEnd(text, here)
                    char.isDigit() -> numberEnd(text, here)
                    char == '\'' || char == '"' -> stringEnd(text, here, line) + 1
                    else -> here + if (SIGNS.any { text.startsWith(it, here) }) 2 else 1
                }
            lexeme(text.substring(here, end), line)?.let { words += it }
            here = end
        }
        return words
    }

    private fun lexeme(word: String, line: Int): Lexeme? {
        val first = word[0]
        return when {
            first.isWhitespace() -> null
            first.isLetter() || first == '_' -> Lexeme(Lexeme.Kind.NAME, word)
            first.isDigit() -> Lexeme(Lexeme.Kind.NUMBER, word)
            first == '\'' || first == '"' -> Lexeme(Lexeme.Kind.STRING, unescaped(word))
            word.length == 2 || first in "()[]{}.,:|+-*/%~<>=" -> Lexeme(Lexeme.Kind.SIGN, word)
            else -> throw broken(line, "the character '$first'")
        }
    }

    private fun wordEnd(text: String, start: Int): Int =
        (start until text.length).firstOrNull { !text[it].isLetterOrDigit() && text[it] != '_' } ?: text.length

    private fun numberEnd(text: String, start: Int): Int {
        val end = (start until text.length).firstOrNull { !text[it].isDigit() } ?: text.length
        val isFraction = text.getOrNull(end) == '.' && text.getOrNull(end + 1)?.isDigit() == true
        return if (isFraction) wordEnd(text, end + 1) else end
    }

    private fun stringEnd(text: String, start: Int, line: Int): Int {
        var here = start + 1
        while (here < text.length && text[here] != text[start]) here += if (text[here] == '\\') 2 else 1
        return if (here < text.length) here else throw broken(line, "a string without an end")
    }

    private fun unescaped(word: String): String {
        val inner = word.substring(1, word.length - 1)
        return ESCAPE.replace(inner) { match ->
            when (val char = match.value[1]) {
                'n' -> "\n"
                't' -> "\t"
                'r' -> "\r"
                'u' -> match.value.substring(2).toInt(16).toChar().toString()
                '\\', '\'', '"' -> char.toString()
                else -> match.value
            }
        }
    }

    private fun broken(line: Int, what: String) = ChatTemplateError("the chat template is broken in line $line: $what")

    private companion object {
        val SIGNS = listOf("==", "!=", "<=", ">=", "//", "**")
        val ESCAPE = Regex("\\\\(u[0-9a-fA-F]{4}|.)", RegexOption.DOT_MATCHES_ALL)
    }
}
