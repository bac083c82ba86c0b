package org.tinyaya.demo.template

import org.tinyaya.demo.bundle.ChatTemplateError

/** The words of a tag in, expressions out, in Jinja's order of precedence. */
internal class ExpressionParser(private val words: List<Lexeme>, private val line: Int) {
    private var at = 0

    val isDone: Boolean get() = at == words.size

    fun end() {
        if (!isDone) throw broken("'${words[at].text}' was not expected")
    }

    fun isSign(text: String) = words.getOrNull(at)?.let { it.kind == Lexeme.Kind.SIGN && it.text == text } == true

    fun isName(text: String) = words.getOrNull(at)?.let { it.kind == Lexeme.Kind.NAME && it.text == text } == true

    fun takeSign(text: String) = isSign(text).also { if (it) at++ }

    fun takeName(text: String) = isName(text).also { if (it) at++ }

    fun expectSign(text: String) {
        if (!takeSign(text)) throw broken("'$text' is missing")
    }

    fun name(): String =
        words.getOrNull(at)?.takeIf { it.kind == Lexeme.Kind.NAME }?.text.also { at++ } ?: throw broken("a name is missing")

    /** An expression; several with commas between them are a list. */
    fun tuple(): Expression {
        val first = expression()
        if (!isSign(",")) return first
        val items = mutableListOf(first)
        while (takeSign(",") && !isDone && !isSign(")")) items += expression()
        return Items(items)
    }

    fun expression(): Expression {
        val value = or()
        if (!takeName("if")) return value
        val condition = or()
        return Conditional(condition, value, if (takeName("else")) expression() else null)
    }

    /** As [expression], where an `if` belongs to the tag. */
    fun or(): Expression = binary({ and() }) { takeName("or").ifSo("or") }

    private fun and(): Expression = binary({ not() }) { takeName("and").ifSo("and") }

    private fun not(): Expression = if (takeName("not")) Unary("not", not()) else comparison()

    private fun comparison(): Expression {
        var left = sum()
        var all: Expression? = null
        while (true) {
            val sign = comparisonSign() ?: return all ?: left
            val right = sum()
            val one = Binary(sign, left, right)
            all = all?.let { Binary("and", it, one) } ?: one
            left = right
        }
    }

    private fun comparisonSign(): String? {
        for (sign in listOf("==", "!=", "<=", ">=", "<", ">")) if (takeSign(sign)) return sign
        if (takeName("in")) return "in"
        if (isName("not") && words.getOrNull(at + 1)?.text == "in") {
            at += 2
            return "not in"
        }
        return null
    }

    private fun sum(): Expression = binary({ join() }) { sign("+", "-") }

    private fun join(): Expression = binary({ product() }) { sign("~") }

    private fun product(): Expression = binary({ unary() }) { sign("*", "//", "/", "%") }

    private fun unary(): Expression {
        val sign = sign("-", "+")
        return if (sign != null) Unary(sign, unary()) else postfix(primary())
    }

    private fun binary(next: () -> Expression, sign: () -> String?): Expression {
        var left = next()
        while (true) {
            val found = sign() ?: return left
            left = Binary(found, left, next())
        }
    }

    private fun postfix(start: Expression): Expression {
        var value = start
        while (true) {
            value =
                when {
                    takeSign(".") -> Member(value, Literal(memberName()))
                    takeSign("[") -> subscript(value)
                    takeSign("(") -> Call(value, arguments())
                    takeSign("|") -> Filter(value, name(), optionalArguments())
                    isName("is") -> test(value)
                    else -> return value
                }
        }
    }

    private fun memberName(): String = words.getOrNull(at)?.takeIf { it.kind != Lexeme.Kind.SIGN }?.text.also { at++ } ?: throw broken("a name is missing")

    private fun test(value: Expression): Expression {
        at++
        val wanted = !takeName("not")
        val name = name()
        val next = words.getOrNull(at)
        val bare = next != null && (next.kind == Lexeme.Kind.STRING || next.kind == Lexeme.Kind.NUMBER)
        return Test(value, name, if (bare) Arguments(listOf(primary()), emptyMap()) else optionalArguments(), wanted)
    }

    private fun subscript(of: Expression): Expression {
        val parts = mutableListOf<Expression?>(null)
        var isSlice = false
        while (!takeSign("]")) {
            if (takeSign(":")) {
                isSlice = true
                parts += null
            } else {
                parts[parts.size - 1] = expression()
            }
            if (isDone) throw broken("']' is missing")
        }
        if (isSlice) return Slice(of, parts[0], parts.getOrNull(1), parts.getOrNull(2))
        return Member(of, parts[0] ?: throw broken("'[]' is empty"))
    }

    private fun optionalArguments() = if (takeSign("(")) arguments() else Arguments(emptyList(), emptyMap())

    private fun arguments(): Arguments {
        val plain = mutableListOf<Expression>()
        val named = mutableMapOf<String, Expression>()
        while (!takeSign(")")) {
            val isNamed = words.getOrNull(at)?.kind == Lexeme.Kind.NAME && words.getOrNull(at + 1)?.text == "=" &&
                words[at + 1].kind == Lexeme.Kind.SIGN
            if (isNamed) {
                val key = name()
                expectSign("=")
                named[key] = expression()
            } else {
                plain += expression()
            }
            if (!isSign(")")) expectSign(",")
        }
        return Arguments(plain, named)
    }

    private fun primary(): Expression {
        val word = words.getOrNull(at++) ?: throw broken("an expression is missing")
        return when (word.kind) {
            Lexeme.Kind.STRING -> string(word.text)
            Lexeme.Kind.NUMBER -> Literal(word.text.toLongOrNull() ?: word.text.toDouble())
            Lexeme.Kind.NAME -> if (word.text in CONSTANTS) Literal(CONSTANTS[word.text]) else Name(word.text)
            Lexeme.Kind.SIGN -> bracket(word.text)
        }
    }

    private fun string(first: String): Expression {
        var text = first
        while (words.getOrNull(at)?.kind == Lexeme.Kind.STRING) text += words[at++].text
        return Literal(text)
    }

    private fun bracket(sign: String): Expression =
        when (sign) {
            "(" -> if (takeSign(")")) Items(emptyList()) else tuple().also { expectSign(")") }
            "[" -> Items(list("]") { expression() })
            "{" ->
                Entries(
                    list("}") {
                        val key = expression()
                        expectSign(":")
                        key to expression()
                    },
                )
            else -> throw broken("'$sign' was not expected")
        }

    private fun <T> list(close: String, item: () -> T): List<T> {
        val items = mutableListOf<T>()
        while (!takeSign(close)) {
            items += item()
            if (!isSign(close)) expectSign(",")
        }
        return items
    }

    private fun sign(vararg signs: String): String? = signs.firstOrNull { takeSign(it) }

    private fun Boolean.ifSo(sign: String): String? = if (this) sign else null

    private fun broken(what: String) = ChatTemplateError("the chat template is broken in line $line: $what")

    private companion object {
        val CONSTANTS = mapOf("true" to true, "True" to true, "false" to false, "False" to false, "none" to null, "None" to null)
    }
}
