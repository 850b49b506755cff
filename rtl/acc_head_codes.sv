// Codes of a head's vector: clamp(rne(x * inv) + zero, 0, 15), or clamp(rne(x * inv), -127, 127) with eight_i; 0 behind the
// vector, and everywhere with blank_i. A word a cycle, 8 cycles behind; |x * inv| < 2^31.
`default_nettype none
module acc_head_codes (
  input  logic          clk_i,
  input  logic          rst_ni,
  input  logic          start_i,
  input  logic [8:0]    n_i,      // these are constant until the end
  input  logic          eight_i,
  input  logic          blank_i,
  input  logic [31:0]   inv_i,
  input  logic [3:0]    zero_i,   // 0 with eight_i
  output logic          busy_o,
  output logic [3:0]    word_o,   // acc_head_turn
  input  logic [511:0]  x_i,
  output logic [2047:0] codes_o   // a byte each; they stand from the end until the next start
);
  localparam int unsigned Cycles = acc_fp_pkg::MulCycles + acc_fp_pkg::ToIntCycles;
  logic              busy_q, reading_q;
  logic [3:0]        read_q, write_q, last;
  logic [Cycles-1:0] valid_q;
  logic [127:0]      codes;
  assign last   = 4'((n_i - 9'd1) >> 4);
  assign word_o = read_q;
  assign busy_o = busy_q;

  for (genvar l = 0; l < 16; l++) begin : gen_lane
    logic [31:0]        scaled, whole;
    logic signed [32:0] shifted;
    logic [7:0]         four, eight;
    acc_fp_mul u_mul (.clk_i, .a_i(x_i[l*32 +: 32]), .b_i(inv_i), .y_o(scaled));
    acc_fp_to_int u_to_int (.clk_i, .x_i(scaled), .y_o(whole));
    assign shifted = 33'(signed'(whole)) + 33'(signed'({1'b0, zero_i}));
    assign four    = shifted < 33'sd0 ? 8'd0 : shifted > 33'sd15 ? 8'd15 : {4'd0, shifted[3:0]};
    assign eight   = shifted < -33'sd127 ? 8'h81 : shifted > 33'sd127 ? 8'h7f : shifted[7:0];
    assign codes[l*8 +: 8] = blank_i || {1'b0, write_q, 4'(l)} >= n_i ? 8'd0 : eight_i ? eight : four;
  end
  for (genvar w = 0; w < 16; w++) begin : gen_word
    logic [127:0] codes_q;
    always_ff @(posedge clk_i)
      if (start_i) codes_q <= '0;
      else if (valid_q[Cycles-1] && write_q == 4'(w)) codes_q <= codes;
    assign codes_o[w*128 +: 128] = codes_q;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q    <= 1'b0;
      reading_q <= 1'b0;
      read_q    <= '0;
      write_q   <= '0;
      valid_q   <= '0;
    end else begin
      valid_q <= {valid_q[Cycles-2:0], reading_q};
      if (start_i) begin
        busy_q    <= 1'b1;
        reading_q <= 1'b1;
        read_q    <= '0;
        write_q   <= '0;
      end else begin
        read_q  <= read_q + 4'(reading_q);
        write_q <= write_q + 4'(valid_q[Cycles-1]);
        if (read_q == last) reading_q <= 1'b0;
        if (valid_q[Cycles-1] && write_q == last) busy_q <= 1'b0;
      end
    end
  end
endmodule
`default_nettype wire
