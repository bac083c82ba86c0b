package org.tinyaya.demo.template

import org.tinyaya.demo.bundle.ChatTemplateError

/** Two values and a sign in, Python's result out. */
internal object Operators {
    fun apply(sign: String, left: Any?, right: Any?): Any? =
        when (sign) {
            "==" -> Values.equal(left, right)
            "!=" -> !Values.equal(left, right)
            "in" -> contains(right, left)
            "not in" -> !contains(right, left)
            "~" -> Values.text(left) + Values.text(right)
            "<", ">", "<=", ">=" -> order(sign, left, right)
            "+" -> plus(left, right)
            else -> arithmetic(sign, left, right)
        }

    fun contains(all: Any?, item: Any?): Boolean =
        when (all) {
            is String -> item is String && item in all
            is Map<*, *> -> all.containsKey(item)
            else -> Values.items(all).any { Values.equal(it, item) }
        }

    private fun order(sign: String, left: Any?, right: Any?): Boolean {
        val numbers = Values.number(left) to Values.number(right)
        val order =
            when {
                left is String && right is String -> left.compareTo(right)
                numbers.first != null && numbers.second != null -> numbers.first!!.toDouble().compareTo(numbers.second!!.toDouble())
                else -> throw ChatTemplateError("the chat template compares ${Values.text(left)} with ${Values.text(right)}")
            }
        return when (sign) {
            "<" -> order < 0
            ">" -> order > 0
            "<=" -> order <= 0
            else -> order >= 0
        }
    }

    private fun plus(left: Any?, right: Any?): Any? =
        when {
            left is String && right is String -> left + right
            left is List<*> && right is List<*> -> left + right
            else -> arithmetic("+", left, right)
        }

    private fun arithmetic(sign: String, left: Any?, right: Any?): Any {
        if (sign == "*" && left is String && right is Long) return left.repeat(right.coerceIn(0, MOST_REPEATS).toInt())
        val (a, b) = operand(left) to operand(right)
        if (a is Long && b is Long && sign != "/") {
            if (b == 0L && sign in "//%") throw ChatTemplateError("the chat template divides by zero")
            return when (sign) {
                "+" -> a + b
                "-" -> a - b
                "*" -> a * b
                "//" -> Math.floorDiv(a, b)
                else -> Math.floorMod(a, b)
            }
        }
        val (x, y) = a.toDouble() to b.toDouble()
        return when (sign) {
            "+" -> x + y
            "-" -> x - y
            "*" -> x * y
            "/" -> x / y
            "//" -> Math.floor(x / y)
            else -> x - y * Math.floor(x / y)
        }
    }

    fun operand(value: Any?): Number =
        Values.number(value) ?: throw ChatTemplateError("the chat template calculates with ${Values.text(value)}")

    private const val MOST_REPEATS = 10_000L
}
